// Globals that packages expect and QuickJS does not have. There are no timers, no network and no files.

import * as logging from 'wasi:logging/logging@0.1.0-draft';
import { decode, encode } from './utf8.js';

/** Jobs of promises, the next one first. */
export const jobs = [];

/** That of QuickJS is never run. */
globalThis.queueMicrotask = (job) => {
  jobs.push(job);
};

/** Without a delay a timer is a job like those of promises; a handler cannot wait. */
globalThis.setTimeout = (job, delay = 0, ...values) => {
  if (delay > 0) {
    throw new Error(`setTimeout with ${delay} ms: a handler cannot wait; throw \`new Retry(reason, ms)\` to run the job later`);
  }
  jobs.push(() => job(...values));
  return jobs.length;
};
globalThis.clearTimeout = () => {};

const shown = (values) =>
  values.map((value) => (typeof value === 'object' ? (JSON.stringify(value) ?? String(value)) : String(value))).join(' ');
const say = (level) => (...values) => logging.log(level, '', shown(values));
globalThis.console = {
  debug: say('debug'),
  log: say('info'),
  info: say('info'),
  warn: say('warn'),
  error: say('error'),
};

globalThis.TextEncoder = class TextEncoder {
  encoding = 'utf-8';
  encode(text = '') {
    return encode(text.toWellFormed());
  }
};
globalThis.TextDecoder = class TextDecoder {
  encoding = 'utf-8';
  constructor(label = 'utf-8') {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`the encoding \`${label}\` is not known: only UTF-8 is`);
  }
  decode(bytes = new Uint8Array()) {
    return decode(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes));
  }
};
