// What a handler of jobs throws, and how its answer reaches the host; text and bytes; the log.
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

abstract class Answer extends Error {
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

/** The handler the host calls, of a function that takes a job. The job is done when it returns
 *  nothing, or a promise of nothing; another value is a failed attempt. Any other exception than those above is one, too, and so is a
 *  refusal of the host. */
export function worker(handle: (job: Job) => void | Promise<void>) {
  return {
    handle(job: Job): void {
      try {
        reseed(`${job.id} ${job.attempt}`);
        finished(handle(job));
      } catch (error) {
        if (error instanceof Answer) throw error.failure;
        throw { tag: 'retry', val: { reason: said(error), afterMs: null } } satisfies Failure;
      }
    },
  };
}

/** Refuses what would be dropped. */
function finished(answer: unknown): void {
  if (settle(answer) !== undefined) {
    throw new TypeError(`the handler returned ${answer === null ? 'null' : typeof answer}, not undefined; \`status.setResult\` sets a job's result`);
  }
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
