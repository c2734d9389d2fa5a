// How what a config reader returns or throws reaches the host; the log.
//
// The functions of `kv` throw an Error whose `payload` says what the host refused. None is `null` here, `undefined` in
// other engines: compare with `== null`.

import * as logging from 'wasi:logging/logging@0.1.0-draft';
import { place, reseed, settle } from './runtime.js';

/** The source the host calls, of a function that returns settings: an object of text. What it throws becomes the reason
 *  why there are none. */
export function configReader(read) {
  return {
    read() {
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
function settings(answer) {
  if (typeof answer !== 'object' || answer === null) {
    throw new TypeError(`the reader returned ${answer === null ? 'null' : typeof answer}, not an object of text`);
  }
  for (const [name, text] of Object.entries(answer)) {
    if (typeof text !== 'string') throw new TypeError(`the setting \`${name}\` must be text, not ${typeof text}`);
  }
  return Object.entries(answer);
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
      return `${error?.message ?? error}${isMistake(error) ? place(error) : ''}`;
  }
}

/** Whether the program is wrong, not what it has read. */
function isMistake(error) {
  return [TypeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** Lines of the job's log. */
export const log = {
  info: (text) => logging.log('info', '', text),
  warn: (text) => logging.log('warn', '', text),
  error: (text) => logging.log('error', '', text),
};
