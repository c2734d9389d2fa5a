// An order as its producer wrote it, checked. Knows nothing of the host, so that plain Node can test it.

import { decode, encode } from './utf8.js';

/** Longest id or customer: both become part of a key. */
const NAME_BYTES_MAX = 200;

/** What is wrong with an order. */
export class Malformed extends Error {}

/** An order that is what it should be. */
export interface Order {
  /** Chosen by the producer; the same id is the same order. */
  id: string;
  /** Whose total grows. */
  customer: string;
  /** What it is worth, above zero. */
  amountCents: number;
}

/** `{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored. */
export function parse(payload: Uint8Array): Order {
  let order: Order;
  let lengths: { id: number; customer: number };
  try {
    const fields: unknown = JSON.parse(decode(payload));
    order = { id: text(fields, 'id'), customer: text(fields, 'customer'), amountCents: cents(fields) };
    lengths = { id: encode(order.id).length, customer: encode(order.customer).length };
  } catch (error) {
    throw new Malformed(`malformed order: ${(error as Error).message}`);
  }
  for (const field of ['id', 'customer'] as const) {
    if (lengths[field] < 1 || lengths[field] > NAME_BYTES_MAX) {
      throw new Malformed(`\`${field}\` has ${lengths[field]} bytes, not 1 to ${NAME_BYTES_MAX}`);
    }
  }
  if (order.amountCents <= 0) {
    throw new Malformed(`\`amount_cents\` is ${order.amountCents}, not above zero`);
  }
  return order;
}

function text(fields: unknown, name: 'id' | 'customer'): string {
  const value = (fields as Record<string, unknown> | null)?.[name];
  if (typeof value !== 'string') throw new TypeError(`\`${name}\` is not a string`);
  return value;
}

function cents(fields: unknown): number {
  const value = (fields as Record<string, unknown>)['amount_cents'];
  // Beyond 2^53 a number is not what was written.
  if (!Number.isSafeInteger(value)) throw new TypeError('`amount_cents` is not a whole number');
  return value as number;
}
