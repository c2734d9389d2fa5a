#include "order.h"

#include <string.h>

#include "text.h"
#include "vendor/yyjson.h"

// Longest id or customer: both become part of a key.
enum { NAME_BYTES_MAX = 200 };

static bool read_text(yyjson_val *fields, const char *name, const char **text, char **reason) {
  yyjson_val *value = yyjson_obj_get(fields, name);
  // A string with a zero byte in it would end there in C.
  if (!yyjson_is_str(value) || strlen(yyjson_get_str(value)) != yyjson_get_len(value)) {
    *reason = text_of("malformed order: `%s` is not a string", name);
    return false;
  }
  *text = yyjson_get_str(value);
  return true;
}

static bool read_cents(yyjson_val *fields, int64_t *cents, char **reason) {
  yyjson_val *value = yyjson_obj_get(fields, "amount_cents");
  // What does not fit is read as a real number.
  if (!yyjson_is_int(value) || (yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX)) {
    *reason = text_of("malformed order: `amount_cents` is not a whole number");
    return false;
  }
  *cents = yyjson_get_sint(value);
  return true;
}

static bool has_fair_length(const char *name, const char *text, char **reason) {
  size_t length = strlen(text);
  if (length >= 1 && length <= NAME_BYTES_MAX) return true;
  *reason = text_of("`%s` has %zu bytes, not 1 to %d", name, length, NAME_BYTES_MAX);
  return false;
}

bool order_parse(const uint8_t *payload, size_t length, order_t *order, char **reason) {
  yyjson_read_err error;
  // Strict: UTF-8 is checked, and nothing may follow.
  yyjson_doc *document = yyjson_read_opts((char *)payload, length, YYJSON_READ_NOFLAG, NULL, &error);
  if (document == NULL) {
    *reason = text_of("malformed order: %s at byte %zu", error.msg, error.pos);
    return false;
  }
  yyjson_val *fields = yyjson_doc_get_root(document);
  if (!read_text(fields, "id", &order->id, reason) || !read_text(fields, "customer", &order->customer, reason) ||
      !read_cents(fields, &order->amount_cents, reason) || !has_fair_length("id", order->id, reason) ||
      !has_fair_length("customer", order->customer, reason)) {
    return false;
  }
  if (order->amount_cents <= 0) {
    *reason = text_of("`amount_cents` is %lld, not above zero", (long long)order->amount_cents);
    return false;
  }
  return true;
}
