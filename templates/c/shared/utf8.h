// Whether bytes are text.

#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool is_utf8(const char *bytes, size_t length);

#endif
