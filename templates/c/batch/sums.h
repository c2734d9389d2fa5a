// Entries and their sums. Knows nothing of the host, so that a plain program can test it.

#ifndef SUMS_H
#define SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A name and a number. The name is a part of the payload, and not ended by a zero.
typedef struct {
  const char *name;
  size_t length;
  int64_t number;
} entry_t;

// Reads `ada 12`. False: it does not read so.
bool entry_of(const char *payload, size_t length, entry_t *entry);

// Adds an entry to the sums of those before it, one for each name; a sum that is too large stops growing. There must be
// room for one more. Answers how many sums there are.
size_t sums_add(entry_t *sums, size_t count, const entry_t *entry);

#endif
