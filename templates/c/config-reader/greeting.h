// The greeting, checked. Knows nothing of the host, so that a plain program can test it.

#ifndef GREETING_H
#define GREETING_H

#include <stddef.h>

// Where the key is not there.
#define DEFAULT_GREETING "hello"
// Longest greeting.
#define GREETING_BYTES_MAX 200

// What is wrong with a value of `key`, so that workers never see a bad one; NULL: nothing.
const char *greeting_wrong(const char *key, const char *value, size_t length);

#endif
