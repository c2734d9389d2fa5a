// An order as its producer wrote it, checked. Knows nothing of the host, so that a plain program can test it.

#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored.
typedef struct {
  const char *id;
  const char *customer;
  int64_t amount_cents;
} order_t;

// Reads a payload. False: `reason` says in a line what is wrong with it.
bool order_parse(const uint8_t *payload, size_t length, order_t *order, char **reason);

#endif
