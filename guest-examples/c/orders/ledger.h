// What an order changes in Redis, and the settings it depends on.

#ifndef LEDGER_H
#define LEDGER_H

#include "bindings/queue_worker.h"
#include "order.h"

// What this worker takes from the config reader `site-settings`, with defaults for a host that has none.
typedef struct {
  const char *greeting;
  const char *currency;
  int64_t max_amount_cents;
} settings_t;

// No round trip: the host keeps one snapshot for the whole run.
settings_t settings_read(void);

typedef enum { BOOKED, BOOKED_BEFORE, REFUSED, UNAVAILABLE } booking_t;

// Books an order, unless another job has. REFUSED, or UNAVAILABLE if Redis did not answer: why is in `reason`.
booking_t ledger_book(const exports_sandhog_worker_handler_job_t *job, const order_t *order,
                      const settings_t *settings, char **reason);

#endif
