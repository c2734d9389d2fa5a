// A config reader that is `async` if its key says so.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { configReader } from './sandhog.js';
import { decode } from './utf8.js';

export const configSource = configReader(async () => {
  const value = kv.get('{{name}}:greeting');
  const greeting = value == null ? 'hello' : decode(value);
  switch (greeting) {
    case 'rejects':
      throw new Error(await Promise.resolve('lost'));
    case 'number':
      return { greeting: 5 };
    default:
      return { greeting };
  }
});
