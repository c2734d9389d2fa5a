// An order as its producer wrote it, checked. Knows nothing of the host, so that plain Node can test it.

import { decode, encode } from './utf8.js';

/** Longest id or customer: both become part of a key. */
const NAME_BYTES_MAX = 200;

/** What is wrong with an order. */
export class Malformed extends Error {}

/** `{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored. */
export function parse(payload) {
  let order, lengths;
  try {
    const fields = JSON.parse(decode(payload));
    order = { id: text(fields, 'id'), customer: text(fields, 'customer'), amountCents: cents(fields) };
    lengths = { id: encode(order.id).length, customer: encode(order.customer).length };
  } catch (error) {
    throw new Malformed(`malformed order: ${error.message}`);
  }
  for (const field of ['id', 'customer']) {
    if (lengths[field] < 1 || lengths[field] > NAME_BYTES_MAX) {
      throw new Malformed(`\`${field}\` has ${lengths[field]} bytes, not 1 to ${NAME_BYTES_MAX}`);
    }
  }
  if (order.amountCents <= 0) {
    throw new Malformed(`\`amount_cents\` is ${order.amountCents}, not above zero`);
  }
  return order;
}

function text(fields, name) {
  if (typeof fields?.[name] !== 'string') throw new TypeError(`\`${name}\` is not a string`);
  return fields[name];
}

function cents(fields) {
  // Beyond 2^53 a number is not what was written.
  if (!Number.isSafeInteger(fields.amount_cents)) throw new TypeError('`amount_cents` is not a whole number');
  return fields.amount_cents;
}
