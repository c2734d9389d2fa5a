// A queue worker: takes orders as JSON, keeps totals, pushes a receipt for each.
//
// | order | answer |
// |---|---|
// | good | done: totals, receipt and marker are written |
// | the same order id in another job | done: only `orders:duplicates` is counted |
// | above `site-settings.max_amount_cents` | retry: an operator may raise the maximum meanwhile |
// | not JSON, a field missing or empty, an amount of zero or less | bury: it will never be better |

import { book } from './ledger.js';
import { Malformed, type Order, parse } from './order.js';
import { Bury, type Job, Retry, log, worker } from './sandhog.js';
import * as settings from './settings.js';

export const handler = worker((job) => {
  const order = orderOf(job);
  const now = settings.read();
  if (order.amountCents > now.maxAmountCents) {
    throw new Retry(`amount ${order.amountCents} is above the maximum of ${now.maxAmountCents} for now`);
  }
  if (!book(job.id, order, now)) {
    log.info(`order \`${order.id}\` was booked before`);
  }
});

function orderOf(job: Job): Order {
  try {
    return parse(job.payload);
  } catch (error) {
    throw error instanceof Malformed ? new Bury(error.message) : error;
  }
}
