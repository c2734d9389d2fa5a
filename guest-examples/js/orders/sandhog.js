// What a handler of jobs throws, and how its answer reaches the host; text and bytes; the log.
//
// The functions of `kv` and `queue` throw an Error whose `payload` says what the host refused. None is `null` here,
// `undefined` in other engines: compare with `== null`.

import * as logging from 'wasi:logging/logging@0.1.0-draft';
import { place, reseed, settle } from './runtime.js';

/** Run the job again: after the back-off of the manifest, or after so many milliseconds. */
export class Retry extends Error {
  constructor(reason, afterMs = null) {
    super(reason);
    this.failure = { tag: 'retry', val: { reason, afterMs } };
  }
}

/** Never run the job again: to the dead jobs, with this reason. */
export class Bury extends Error {
  constructor(reason) {
    super(reason);
    this.failure = { tag: 'bury', val: reason };
  }
}

/** Drop the job; the reason is logged. */
export class Discard extends Error {
  constructor(reason) {
    super(reason);
    this.failure = { tag: 'discard', val: reason };
  }
}

/** The handler the host calls, of a function that takes a job. The job is done when it returns
 *  nothing, or a promise of nothing; another value is a failed attempt. Any other exception than those above is one, too, and so is a
 *  refusal of the host. */
export function worker(handle) {
  return {
    handle(job) {
      try {
        reseed(`${job.id} ${job.attempt}`);
        finished(handle(job));
      } catch (error) {
        throw error?.failure ?? { tag: 'retry', val: { reason: said(error), afterMs: null } };
      }
    },
  };
}

/** Refuses what would be dropped. */
function finished(answer) {
  if (settle(answer) !== undefined) {
    throw new TypeError(`the handler returned ${answer === null ? 'null' : typeof answer}, not undefined; \`status.setResult\` sets a job's result`);
  }
}

/** What went wrong, in words. */
export function said(error) {
  const { tag, val } = error?.payload ?? {};
  switch (tag) {
    case 'denied':
      return `the grants do not cover \`${val}\``;
    case 'wrong-type':
      return `\`${val}\` holds something else`;
    case 'quota':
      return `the bound \`${val}\` was passed`;
    case 'unavailable':
      return val;
    default:
      return `${error}${place(error)}`;
  }
}

/** Lines of the job's log. */
export const log = {
  info: (text) => logging.log('info', '', text),
  warn: (text) => logging.log('warn', '', text),
  error: (text) => logging.log('error', '', text),
};
