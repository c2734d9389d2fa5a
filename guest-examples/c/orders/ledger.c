// The manifest asks for atomic effects: all of it becomes visible together with the job's completion, or nothing. So
// nothing here is prepared for a run that was cut off, and a job that runs twice books once. That leaves the producer,
// who may push the same order as two jobs: each order has a marker, set only if there is none.

#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "vendor/yyjson.h"

// How long an order is remembered: a week.
static const uint64_t SEEN_MS = 7ull * 24 * 60 * 60 * 1000;

// A string of ours, as the host takes it.
static queue_worker_string_t string(const char *text) {
  return (queue_worker_string_t){(uint8_t *)text, strlen(text)};
}

static const char *setting(const char *name, const char *otherwise) {
  queue_worker_string_t key = string(name);
  queue_worker_option_string_t value;
  wasi_config_store_error_t error;
  if (!wasi_config_store_get(&key, &value, &error) || !value.is_some) return otherwise;
  return text_of("%.*s", (int)value.val.len, (const char *)value.val.ptr);
}

settings_t settings_read(void) {
  // The reader has checked that it is a number.
  const char *most = setting("site-settings.max_amount_cents", NULL);
  return (settings_t){
      .greeting = setting("site-settings.greeting", "hello"),
      .currency = setting("site-settings.currency", "EUR"),
      .max_amount_cents = most == NULL ? INT64_MAX : strtoll(most, NULL, 10),
  };
}

static booking_t refused(const sandhog_worker_types_error_t *error, char **reason) {
  static const char *const SAID[] = {"the grants do not cover `%.*s`", "`%.*s` holds something else",
                                     "the bound `%.*s` was passed", "%.*s"};
  queue_worker_string_t what = error->val.denied;  // every case holds a string
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  *reason = text_of(SAID[error->tag & 3], (int)what.len, (const char *)what.ptr);
  return error->tag == SANDHOG_WORKER_TYPES_ERROR_UNAVAILABLE ? UNAVAILABLE : REFUSED;
}

static bool add(const char *key, int64_t delta, sandhog_worker_types_error_t *error) {
  queue_worker_string_t name = string(key);
  return sandhog_worker_kv_add(&name, delta, error);
}

static char *receipt(const order_t *order, const settings_t *settings, size_t *length) {
  yyjson_mut_doc *document = yyjson_mut_doc_new(NULL);
  yyjson_mut_val *fields = yyjson_mut_obj(document);
  yyjson_mut_doc_set_root(document, fields);
  yyjson_mut_obj_add_str(document, fields, "order", order->id);
  yyjson_mut_obj_add_str(document, fields, "customer", order->customer);
  yyjson_mut_obj_add_sint(document, fields, "amount_cents", order->amount_cents);
  yyjson_mut_obj_add_str(document, fields, "currency", settings->currency);
  yyjson_mut_obj_add_str(document, fields, "greeting", settings->greeting);
  char *text = yyjson_mut_write(document, YYJSON_WRITE_NOFLAG, length);
  if (text == NULL) abort();
  return text;
}

booking_t ledger_book(const exports_sandhog_worker_handler_job_t *job, const order_t *order,
                      const settings_t *settings, char **reason) {
  sandhog_worker_types_error_t error;
  queue_worker_string_t marker = string(text_of("order:seen:%s", order->id));
  queue_worker_list_u8_t id = {job->id.ptr, job->id.len};
  sandhog_worker_kv_set_options_t once = {.ttl_ms = {true, SEEN_MS},
                                          .condition = SANDHOG_WORKER_KV_CONDITION_IF_ABSENT};
  bool is_first;
  if (!sandhog_worker_kv_set_with(&marker, &id, &once, &is_first, &error)) return refused(&error, reason);
  if (!is_first) return add("orders:duplicates", 1, &error) ? BOOKED_BEFORE : refused(&error, reason);

  if (!add(text_of("total:%s", order->customer), order->amount_cents, &error) ||
      !add("total:all", order->amount_cents, &error) || !add("orders:count", 1, &error)) {
    return refused(&error, reason);
  }
  queue_worker_list_u8_t entry;
  entry.ptr = (uint8_t *)receipt(order, settings, &entry.len);
  queue_worker_string_t receipts = string("receipts");
  uint64_t waiting;
  if (!sandhog_worker_queue_push(&receipts, &entry, &waiting, &error)) return refused(&error, reason);
  return BOOKED;
}
