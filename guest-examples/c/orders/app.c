// A queue worker: takes orders as JSON, keeps totals, pushes a receipt for each.
//
// | order | answer |
// |---|---|
// | good | done: totals, receipt and marker are written |
// | the same order id in another job | done: only `orders:duplicates` is counted |
// | above `site-settings.max_amount_cents` | retry: an operator may raise the maximum meanwhile |
// | not JSON, a field missing or empty, an amount of zero or less | bury: it will never be better |

#include "ledger.h"
#include "order.h"
#include "text.h"

typedef exports_sandhog_worker_handler_failure_t failure_t;

static bool bury(failure_t *failure, char *reason) {
  failure->tag = EXPORTS_SANDHOG_WORKER_HANDLER_FAILURE_BURY;
  queue_worker_string_set(&failure->val.bury, reason);
  return false;
}

// Run the job again, after the back-off of the manifest.
static bool retry(failure_t *failure, char *reason) {
  failure->tag = EXPORTS_SANDHOG_WORKER_HANDLER_FAILURE_RETRY;
  queue_worker_string_set(&failure->val.retry.reason, reason);
  failure->val.retry.after_ms.is_some = false;
  return false;
}

bool exports_sandhog_worker_handler_handle(exports_sandhog_worker_handler_job_t *job, failure_t *failure) {
  order_t order;
  char *reason;
  if (!order_parse(job->payload.ptr, job->payload.len, &order, &reason)) return bury(failure, reason);
  settings_t settings = settings_read();
  if (order.amount_cents > settings.max_amount_cents) {
    return retry(failure, text_of("amount %lld is above the maximum of %lld for now", (long long)order.amount_cents,
                                  (long long)settings.max_amount_cents));
  }
  switch (ledger_book(job, &order, &settings, &reason)) {
    case BOOKED:
      return true;
    case BOOKED_BEFORE: {
      queue_worker_string_t context, message;
      queue_worker_string_set(&context, "orders");
      queue_worker_string_set(&message, text_of("order `%s` was booked before", order.id));
      wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &context, &message);
      return true;
    }
    case REFUSED:
      return bury(failure, reason);
    default:
      return retry(failure, reason);
  }
}
