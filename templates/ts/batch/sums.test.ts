// What an entry is, and what it adds up to. `node --test` needs nothing but Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entryOf, sumsOf } from './sums.js';

const bytes = (text: string) => new TextEncoder().encode(text);

test('an entry is a name and a number', () => {
  assert.deepEqual(entryOf(bytes('ada 12')), { name: 'ada', number: 12 });
  assert.deepEqual(entryOf(bytes(' bob\t-3\n')), { name: 'bob', number: -3 });
  for (const bad of ['', 'ada', 'ada twelve', 'ada 1.5', 'ada 1e3', 'ada 12 13', 'ada 99999999999999999999']) {
    assert.equal(entryOf(bytes(bad)), null, bad);
  }
  assert.equal(entryOf(new Uint8Array([0xff, 0x20, 0x31])), null);
});

test('there is one sum for each name', () => {
  const entries = [
    { name: 'ada', number: 12 },
    { name: 'bob', number: 1 },
    { name: 'ada', number: 30 },
  ];
  assert.deepEqual(Object.fromEntries(sumsOf(entries)), { ada: 42, bob: 1 });
});
