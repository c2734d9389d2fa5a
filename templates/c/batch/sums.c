#include "sums.h"

#include <string.h>

#include "utf8.h"

// Digits that 64 bits always hold, and perhaps one too many.
#define DIGITS_MAX 19

static bool is_space(char byte) { return byte != 0 && strchr(" \t\n\f\r", byte) != NULL; }

static const char *after_spaces(const char *at, const char *end) {
  while (at < end && is_space(*at)) at++;
  return at;
}

static const char *after_word(const char *at, const char *end) {
  while (at < end && !is_space(*at)) at++;
  return at;
}

static bool number_of(const char *at, const char *end, int64_t *number) {
  bool negative = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) at++;
  if (at == end || end - at > DIGITS_MAX) return false;
  uint64_t value = 0;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9') return false;
    value = value * 10 + (uint64_t)(*at - '0');
  }
  if (value > INT64_MAX) return false;
  *number = negative ? -(int64_t)value : (int64_t)value;
  return true;
}

bool entry_of(const char *payload, size_t length, entry_t *entry) {
  const char *end = payload + length;
  entry->name = after_spaces(payload, end);
  const char *name_end = after_word(entry->name, end);
  entry->length = (size_t)(name_end - entry->name);
  const char *number = after_spaces(name_end, end), *number_end = after_word(number, end);
  return entry->length > 0 && is_utf8(entry->name, entry->length) && number_of(number, number_end, &entry->number) &&
         after_spaces(number_end, end) == end;
}

static int64_t sum_of(int64_t one, int64_t other) {
  int64_t sum;
  if (!__builtin_add_overflow(one, other, &sum) && sum >= -INT64_MAX) return sum;
  return other > 0 ? INT64_MAX : -INT64_MAX;
}

size_t sums_add(entry_t *sums, size_t count, const entry_t *entry) {
  for (size_t at = 0; at < count; at++) {
    if (sums[at].length == entry->length && memcmp(sums[at].name, entry->name, entry->length) == 0) {
      sums[at].number = sum_of(sums[at].number, entry->number);
      return count;
    }
  }
  sums[count] = *entry;
  return count + 1;
}
