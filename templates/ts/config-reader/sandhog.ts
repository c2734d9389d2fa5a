// How what a config reader returns or throws reaches the host; the log.
//
// The functions of `kv` throw an Error whose `payload` says what the host refused. None is `null` here, `undefined` in
// other engines: compare with `== null`.

import * as logging from 'wasi:logging/logging@0.1.0-draft';
import { place, reseed, settle } from './runtime.js';

/** Why the host refused a call. */
export interface Refusal {
  tag: 'denied' | 'wrong-type' | 'quota' | 'unavailable';
  val: string;
}

/** Settings by name. */
export type Settings = Record<string, string>;

/** The source the host calls, of a function that returns settings. What it throws becomes the reason why there are none. */
export function configReader(read: () => Settings | Promise<Settings>) {
  return {
    read(): [string, string][] {
      try {
        reseed('');
        return settings(settle(read()));
      } catch (error) {
        throw said(error);
      }
    },
  };
}

/** Refuses settings that are not an object of text. */
function settings(answer: Settings): [string, string][] {
  if (typeof answer !== 'object' || answer === null) {
    throw new TypeError(`the reader returned ${answer === null ? 'null' : typeof answer}, not an object of text`);
  }
  for (const [name, text] of Object.entries(answer)) {
    if (typeof text !== 'string') throw new TypeError(`the setting \`${name}\` must be text, not ${typeof text}`);
  }
  return Object.entries(answer);
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
      if (!(error instanceof Error)) return String(error);
      return `${error.message}${isMistake(error) ? place(error) : ''}`;
  }
}

/** Whether the program is wrong, not what it has read. */
function isMistake(error: Error): boolean {
  return [TypeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** Lines of the job's log. */
export const log = {
  info: (text: string) => logging.log('info', '', text),
  warn: (text: string) => logging.log('warn', '', text),
  error: (text: string) => logging.log('error', '', text),
};
