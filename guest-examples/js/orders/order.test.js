// What an order may be. `node --test` needs nothing but Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from './order.js';
import { decode, encode } from './utf8.js';

const bytes = (text) => new TextEncoder().encode(text);

test('a good order is read', () => {
  const order = parse(bytes('{"id": "A-1", "customer": "ada", "amount_cents": 1, "note": "x"}'));
  assert.deepEqual(order, { id: 'A-1', customer: 'ada', amountCents: 1 });
});

test('what is wrong is said', () => {
  for (const [payload, said] of [
    ['', /^malformed order: /],
    ['null', /^malformed order: `id` is not a string/],
    ['[1]', /^malformed order: `id` is not a string/],
    ['{"id": "A-1"', /^malformed order: /],
    ['{"id": "A-1", "amount_cents": 1}', /^malformed order: `customer` is not a string/],
    ['{"id": "\\ud800", "customer": "a", "amount_cents": 1}', /^malformed order: half a character/],
    ['{"id": "A-1", "customer": "a", "amount_cents": 1.5}', /not a whole number/],
    ['{"id": "A-1", "customer": "a", "amount_cents": true}', /not a whole number/],
    ['{"id": "A-1", "customer": "a", "amount_cents": 99999999999999999999}', /not a whole number/],
    ['{"id": "", "customer": "a", "amount_cents": 1}', /^`id` has 0 bytes, not 1 to 200/],
    [`{"id": "${'é'.repeat(101)}", "customer": "a", "amount_cents": 1}`, /^`id` has 202 bytes/],
    ['{"id": "A-1", "customer": "", "amount_cents": 1}', /^`customer` has 0 bytes/],
    ['{"id": "A-1", "customer": "a", "amount_cents": 0}', /^`amount_cents` is 0, not above zero/],
    ['{"id": "A-1", "customer": "a", "amount_cents": -5}', /^`amount_cents` is -5/],
  ]) {
    assert.throws(() => parse(bytes(payload)), { message: said }, payload);
  }
  assert.throws(() => parse(new Uint8Array([0xff, 0xfe])), /malformed order: not UTF-8/);
});

test('text and bytes are each other, and nothing else is text', () => {
  for (const text of ['', 'a', 'é', '€', '🦁', 'aé€🦁\u0000\u{10ffff}']) {
    assert.deepEqual(encode(text), bytes(text));
    assert.equal(decode(bytes(text)), text);
  }
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const tails = [[], [0x80], [0xbf, 0x80], [0x9f, 0xbf], [0xa0, 0x80], [0x8f, 0xbf, 0xbf], [0x90, 0x80, 0x80], [0x80, 0x80, 0x80]];
  for (let first = 0; first < 256; first++) {
    for (const tail of tails) {
      const some = new Uint8Array([first, ...tail]);
      let text = null;
      try {
        text = strict.decode(some);
      } catch {}
      if (text === null) assert.throws(() => decode(some), RangeError, String(some));
      else assert.equal(decode(some), text);
    }
  }
});
