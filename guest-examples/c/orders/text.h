// Text that is made of parts. Nothing of it is freed: the sandbox goes with its job.

#ifndef TEXT_H
#define TEXT_H

__attribute__((format(printf, 1, 2))) char *text_of(const char *format, ...);

#endif
