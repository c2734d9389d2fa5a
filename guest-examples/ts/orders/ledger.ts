// What an order changes in Redis.
//
// The manifest asks for atomic effects: all of it becomes visible together with the job's completion, or nothing. So nothing
// here is prepared for a run that was cut off, and a job that runs twice books once. That leaves the producer, who may push
// the same order as two jobs: each order has a marker, set only if there is none.

import * as kv from 'sandhog:worker/kv@0.1.0';
import * as queue from 'sandhog:worker/queue@0.1.0';
import type { Order } from './order.js';
import type { Settings } from './settings.js';
import { encode } from './utf8.js';

/** How long an order is remembered: a week. */
const SEEN_MS = 7 * 24 * 60 * 60 * 1000;

/** Books an order, unless another job has; answers whether it did. */
export function book(jobId: string, order: Order, settings: Settings): boolean {
  const once: kv.SetOptions = { ttlMs: SEEN_MS, condition: 'if-absent' };
  if (!kv.setWith(`order:seen:${order.id}`, encode(jobId), once)) {
    kv.add('orders:duplicates', 1);
    return false;
  }
  kv.add(`total:${order.customer}`, order.amountCents);
  kv.add('total:all', order.amountCents);
  kv.add('orders:count', 1);
  const receipt = {
    order: order.id,
    customer: order.customer,
    amount_cents: order.amountCents,
    currency: settings.currency,
    greeting: settings.greeting,
  };
  queue.push('receipts', encode(JSON.stringify(receipt)));
  return true;
}
