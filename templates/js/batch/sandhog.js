// What a handler of many jobs answers for each of them, and how that reaches the host; the log.
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

/** The handler the host calls, of a function that takes jobs and answers for each: `null` (done), or one of those above.
 *  Change nothing for a job that is not done: what a call changes belongs to all that are. When it throws, all of them run
 *  again, and nothing of the call takes place. */
export function batch(handle) {
  return {
    handleBatch(jobs) {
      try {
        reseed(jobs.map((job) => `${job.id} ${job.attempt}`).join());
        return answers(jobs, settle(handle(jobs))).map((answer) => (answer == null ? { tag: 'ok' } : { tag: 'err', val: answer.failure }));
      } catch (error) {
        return jobs.map(() => ({ tag: 'err', val: { tag: 'retry', val: { reason: said(error), afterMs: null } } }));
      }
    },
  };
}

/** Refuses answers that are not one for each job. */
function answers(jobs, all) {
  if (!Array.isArray(all) || all.length !== jobs.length) {
    throw new TypeError(`the handler must return an array of ${jobs.length} answers, one for each job`);
  }
  if (!all.every((answer) => answer == null || answer.failure)) {
    throw new TypeError('an answer for a job is null, Retry, Bury or Discard');
  }
  return all;
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
