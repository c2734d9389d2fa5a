#include "utf8.h"

#include <stdint.h>

// How many bytes a character has that begins so; 0: none begins so.
static size_t length_of(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

bool is_utf8(const char *bytes, size_t length) {
  const unsigned char *at = (const unsigned char *)bytes, *end = at + length;
  while (at < end) {
    size_t count = length_of(*at);
    if (count == 0 || count > (size_t)(end - at)) return false;
    uint32_t character = count == 1 ? *at : *at & (0x7F >> count);
    for (size_t more = 1; more < count; more++) {
      if ((at[more] & 0xC0) != 0x80) return false;
      character = character << 6 | (at[more] & 0x3F);
    }
    // Written longer than need be, half of a pair, or beyond the last one.
    if ((count == 3 && character < 0x800) || (count == 4 && (character < 0x10000 || character > 0x10FFFF)) ||
        (character >= 0xD800 && character <= 0xDFFF)) {
      return false;
    }
    at += count;
  }
  return true;
}
