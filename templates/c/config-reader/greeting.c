#include "greeting.h"

#include "text.h"
#include "utf8.h"

const char *greeting_wrong(const char *key, const char *value, size_t length) {
  if (length > GREETING_BYTES_MAX) {
    return text_of("`%s` has %zu bytes, not %d at the most", key, length, GREETING_BYTES_MAX);
  }
  return is_utf8(value, length) ? NULL : text_of("`%s` is not UTF-8 text", key);
}
