// What a word is. `node --test` needs nothing but Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wordsOf } from './words.js';

test('words are lower case and not too long', () => {
  assert.deepEqual(wordsOf('The  quick\tthe\n'), ['the', 'quick', 'the']);
  assert.deepEqual(wordsOf(`a ${'x'.repeat(65)} b`), ['a', 'b']);
  assert.deepEqual(wordsOf(' \n'), []);
});
