// The words of a text. Knows nothing of the host, so that a plain program can test it.

#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

// Longest word; what is longer is passed over.
#define WORD_BYTES_MAX 64

// Not ended by a zero: a text may have some.
typedef struct {
  char bytes[WORD_BYTES_MAX];
  size_t length;
} word_t;

// The first word from `at` on, between white space (that of ASCII), with `A` to `Z` in lower case. Answers where to look
// for the next one; NULL: there was none.
const char *next_word(const char *at, const char *end, word_t *word);

#endif
