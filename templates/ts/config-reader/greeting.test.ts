// What a greeting may be. `node --test` needs nothing but Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checked } from './greeting.js';

const bytes = (text: string) => new TextEncoder().encode(text);

test('without a key there is a default', () => {
  assert.equal(checked('k', null), 'hello');
  assert.equal(checked('k', bytes('salut')), 'salut');
});

test('a bad value names its key', () => {
  assert.throws(() => checked('k', new Uint8Array([0xff])), { message: '`k` is not UTF-8 text' });
  assert.throws(() => checked('k', bytes('x'.repeat(201))), { message: '`k` has 201 bytes, not 200 at the most' });
});
