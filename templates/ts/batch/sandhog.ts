// What a handler of many jobs answers for each of them, and how that reaches the host; the log.
//
// The functions of `kv` and `queue` throw an Error whose `payload` says what the host refused. None is `null` here,
// `undefined` in other engines: compare with `== null`.

import * as logging from 'wasi:logging/logging@0.1.0-draft';
import { place, reseed, settle } from './runtime.js';

/** One job, as the host hands it over. */
export interface Job {
  /** Unique, and kept through all attempts. */
  id: string;
  queue: string;
  payload: Uint8Array;
  /** 1 for the first attempt. */
  attempt: number;
  maxAttempts: number;
  /** Redis time of the first claim, milliseconds since the epoch. */
  firstSeenMs: number;
  headers: [string, string][];
}

/** What a handler answers when the job is not done. */
export type Failure =
  | { tag: 'retry'; val: { reason: string; afterMs: number | null } }
  | { tag: 'bury' | 'discard'; val: string };

/** Why the host refused a call. */
export interface Refusal {
  tag: 'denied' | 'wrong-type' | 'quota' | 'unavailable';
  val: string;
}

/** What becomes of a job that is not done. */
export abstract class Answer extends Error {
  abstract readonly failure: Failure;
}

/** Run the job again: after the back-off of the manifest, or after so many milliseconds. */
export class Retry extends Answer {
  readonly failure: Failure;

  constructor(reason: string, afterMs: number | null = null) {
    super(reason);
    this.failure = { tag: 'retry', val: { reason, afterMs } };
  }
}

/** Never run the job again: to the dead jobs, with this reason. */
export class Bury extends Answer {
  readonly failure: Failure;

  constructor(reason: string) {
    super(reason);
    this.failure = { tag: 'bury', val: reason };
  }
}

/** Drop the job; the reason is logged. */
export class Discard extends Answer {
  readonly failure: Failure;

  constructor(reason: string) {
    super(reason);
    this.failure = { tag: 'discard', val: reason };
  }
}

/** What the host is told of one job. */
type Result = { tag: 'ok' } | { tag: 'err'; val: Failure };

/** What a handler answers, for each job in order. */
export type Answers = (Answer | null)[];

/** The handler the host calls, of a function that takes jobs and answers for each: `null` (done), or one of those above.
 *  Change nothing for a job that is not done: what a call changes belongs to all that are. When it throws, all of them run
 *  again, and nothing of the call takes place. */
export function batch(handle: (jobs: Job[]) => Answers | Promise<Answers>) {
  return {
    handleBatch(jobs: Job[]): Result[] {
      try {
        reseed(jobs.map((job) => `${job.id} ${job.attempt}`).join());
        return answers(jobs, settle(handle(jobs))).map((answer) => (answer == null ? { tag: 'ok' } : { tag: 'err', val: answer.failure }));
      } catch (error) {
        const again: Failure = { tag: 'retry', val: { reason: said(error), afterMs: null } };
        return jobs.map(() => ({ tag: 'err', val: again }));
      }
    },
  };
}

/** Refuses answers that are not one for each job. */
function answers(jobs: Job[], all: Answers): Answers {
  if (!Array.isArray(all) || all.length !== jobs.length) {
    throw new TypeError(`the handler must return an array of ${jobs.length} answers, one for each job`);
  }
  if (!all.every((answer) => answer == null || answer.failure)) {
    throw new TypeError('an answer for a job is null, Retry, Bury or Discard');
  }
  return all;
}

/** What went wrong, in words. */
export function said(error: unknown): string {
  const refusal = (error as { payload?: Refusal } | null)?.payload;
  const val = refusal?.val ?? '';
  switch (refusal?.tag) {
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
  info: (text: string) => logging.log('info', '', text),
  warn: (text: string) => logging.log('warn', '', text),
  error: (text: string) => logging.log('error', '', text),
};
