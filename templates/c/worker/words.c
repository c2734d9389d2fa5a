#include "words.h"

#include <stdbool.h>
#include <string.h>

static bool is_space(char byte) { return byte != 0 && strchr(" \t\n\f\r", byte) != NULL; }

const char *next_word(const char *at, const char *end, word_t *word) {
  for (;;) {
    while (at < end && is_space(*at)) at++;
    if (at == end) return NULL;
    for (word->length = 0; at < end && !is_space(*at); at++, word->length++) {
      char byte = *at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at;
      if (word->length < WORD_BYTES_MAX) word->bytes[word->length] = byte;
    }
    if (word->length <= WORD_BYTES_MAX) return at;
  }
}
