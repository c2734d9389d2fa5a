#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *text_of(const char *format, ...) {
  va_list values;
  va_start(values, format);
  int length = vsnprintf(NULL, 0, format, values);
  va_end(values);
  char *text = malloc((size_t)length + 1);
  // Out of memory ends the run; the host knows what to do.
  if (text == NULL) abort();
  va_start(values, format);
  vsnprintf(text, (size_t)length + 1, format, values);
  va_end(values);
  return text;
}
