// A config reader: makes the setting `greeting` of the key `{{name}}:greeting`. Workers whose manifest has
// `config = ["{{name}}"]` among its grants see it as `{{name}}.greeting`.
//
// It runs when it is loaded, and again whenever the key changes. On an error the last good settings stay.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { checked } from './greeting.js';
import { configReader } from './sandhog.js';

/** Where the greeting is. */
const KEY = '{{name}}:greeting';

export const configSource = configReader(() => ({ greeting: checked(KEY, kv.get(KEY)) }));
