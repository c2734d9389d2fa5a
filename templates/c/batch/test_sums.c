// What an entry is, and what it adds up to. A plain program: `make test` runs it on this machine.

#include <stdio.h>
#include <string.h>

#include "sums.h"

static int failed = 0;

static void check(bool holds, const char *what) {
  if (holds) return;
  failed = 1;
  fprintf(stderr, "%s\n", what);
}

static void reads(const char *payload, const char *name, int64_t number) {
  entry_t entry;
  bool is_one = entry_of(payload, strlen(payload), &entry);
  check(is_one && entry.length == strlen(name) && memcmp(entry.name, name, entry.length) == 0 && entry.number == number,
        payload);
}

int main(void) {
  reads("ada 12", "ada", 12);
  reads(" bob\t-3\n", "bob", -3);
  reads("x 9223372036854775807", "x", INT64_MAX);
  static const char *const WRONG[] = {"",          "ada",          "ada twelve",  "ada 1.5",
                                      "ada 1_0",   "ada 12 13",    "ada -",       "ada 9223372036854775808",
                                      "\xFF 1",    "ada 00000000000000000001"};
  for (size_t at = 0; at < sizeof WRONG / sizeof *WRONG; at++) {
    entry_t entry;
    check(!entry_of(WRONG[at], strlen(WRONG[at]), &entry), WRONG[at]);
  }

  static const entry_t ENTRIES[] = {{"ada", 3, 12}, {"bob", 3, 1}, {"ada", 3, 30}, {"bob", 3, INT64_MAX}};
  entry_t sums[4];
  size_t count = 0;
  for (size_t at = 0; at < 4; at++) count = sums_add(sums, count, &ENTRIES[at]);
  check(count == 2 && sums[0].number == 42 && sums[1].number == INT64_MAX, "there is one sum for each name");
  return failed;
}
