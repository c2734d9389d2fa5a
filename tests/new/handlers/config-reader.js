// A config reader that is `async` if its key says so.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { configReader } from './sandhog.js';
import { decode } from './utf8.js';

export const configSource = configReader(() => {
  const value = kv.get('{{name}}:greeting');
  const greeting = value == null ? 'hello' : decode(value);
  switch (greeting) {
    case 'async':
      return (async () => ({ greeting }))();
    case 'number':
      return { greeting: 5 };
    default:
      return { greeting };
  }
});
