// What a word is, and what is text. A plain program: `make test` runs it on this machine.

#include <stdio.h>
#include <string.h>

#include "utf8.h"
#include "words.h"

static int failed = 0;

static void check(bool holds, const char *what) {
  if (holds) return;
  failed = 1;
  fprintf(stderr, "%s\n", what);
}

static void words_are(const char *text, const char *expected) {
  char found[1000] = "";
  word_t word;
  for (const char *at = text; (at = next_word(at, text + strlen(text), &word)) != NULL;) {
    strcat(strncat(found, word.bytes, word.length), ",");
  }
  check(strcmp(found, expected) == 0, text);
}

int main(void) {
  words_are("The  quick\tthe\n", "the,quick,the,");
  words_are("a 12345678901234567890123456789012345678901234567890123456789012345 b", "a,b,");
  words_are("1234567890123456789012345678901234567890123456789012345678901234",
            "1234567890123456789012345678901234567890123456789012345678901234,");
  words_are(" \n", "");
  words_are("", "");

  static const char *const TEXT[] = {"", "a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x8E\x89", "\xF4\x8F\xBF\xBF"};
  static const char *const NO_TEXT[] = {"\xFF",         "\x80",             "\xC3",             "\xC0\x80", "\xE0\x80\x80",
                                        "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xC3(",    "\xE2\x82"};
  for (size_t at = 0; at < sizeof TEXT / sizeof *TEXT; at++) {
    check(is_utf8(TEXT[at], strlen(TEXT[at])), "what is text");
  }
  for (size_t at = 0; at < sizeof NO_TEXT / sizeof *NO_TEXT; at++) {
    check(!is_utf8(NO_TEXT[at], strlen(NO_TEXT[at])), "what is no text");
  }
  return failed;
}
