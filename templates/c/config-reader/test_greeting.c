// What a greeting may be. A plain program: `make test` runs it on this machine.

#include <stdio.h>
#include <string.h>

#include "greeting.h"

static int failed = 0;

// NULL: nothing is wrong.
static void is_said(const char *value, const char *expected) {
  const char *said = greeting_wrong("k", value, strlen(value));
  if (said == expected || (said != NULL && expected != NULL && strcmp(said, expected) == 0)) return;
  failed = 1;
  fprintf(stderr, "%s: %s\n", value, said == NULL ? "it was taken" : said);
}

int main(void) {
  char longest[GREETING_BYTES_MAX + 2] = "";
  memset(longest, 'x', GREETING_BYTES_MAX);
  is_said(longest, NULL);
  longest[GREETING_BYTES_MAX] = 'x';
  is_said(longest, "`k` has 201 bytes, not 200 at the most");
  is_said("salut", NULL);
  is_said("gr\xC3\xBC\xC3\x9F", NULL);
  is_said("\xFF", "`k` is not UTF-8 text");
  return failed;
}
