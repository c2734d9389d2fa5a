// What QuickJS lacks, for programs and their packages, and the end of promises. `make` puts this file before all other modules.
//
// Nothing runs promises to their end in these components: the host calls a function and takes its answer. So promises are those
// of the package promise-polyfill, `make` turns `async` functions into generators that use them, and `settle` runs their jobs.

import { jobs } from './globals.js';
import Settled from 'promise-polyfill';

Settled._immediateFn = (job) => jobs.push(job);
Settled._unhandledRejectionFn = () => {};
Settled.withResolvers ??= () => {
  const all = {};
  all.promise = new Settled((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};
globalThis.Promise = Settled;

/** Begins `Math.random` anew, with a call of the host: what QuickJS drew when the component was built would be the same in every
 *  run. Not for secrets. */
export function reseed(text) {
  const seed = `${text} ${Date.now()}`;
  const hash = (from) => [...seed].reduce((sum, char) => Math.imul(sum ^ char.codePointAt(0), 0x01000193), from);
  let [a, b, c, d] = [0x811c9dc5, 0x9e3779b9, 0x243f6a88, 1].map(hash);
  // sfc32, by Chris Doty-Humphrey; public domain.
  Math.random = () => {
    const next = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + next) | 0;
    return (next >>> 0) / 4294967296;
  };
  for (let round = 0; round < 12; round++) Math.random();
}

/** What a promise becomes, or what else `answer` is. Throws what it is rejected with, and if nothing can settle it. */
export function settle(answer) {
  let end;
  if (typeof answer?.then === 'function') {
    Settled.resolve(answer).then((value) => (end = { value }), (error) => (end = { error }));
  } else {
    end = { value: answer };
  }
  try {
    // What nobody waits for belongs to this job, too: it must not run in the next one.
    while (jobs.length > 0) jobs.shift()();
  } finally {
    jobs.length = 0;
  }
  if (end === undefined) {
    throw new Error('the handler waits for a promise that nothing settles: there are no timers and no events');
  }
  if ('error' in end) throw end.error;
  return end.value;
}

/** Where in the author's files an error was made: ` (app.js:12)`, or nothing. */
export function place(error) {
  const frames = String(error?.stack ?? '').matchAll(/app\.js:(\d+)/g);
  for (const [, line] of frames) {
    const found = (globalThis.sandhogLines ?? {})[line];
    if (found !== undefined) return ` (${found})`;
  }
  return '';
}
