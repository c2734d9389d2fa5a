// What an order may be. A plain program: `make test` runs it on this machine.

#include <stdio.h>
#include <string.h>

#include "order.h"

static int failed = 0;

static void check(int holds, const char *payload, const char *found) {
  if (holds) return;
  failed = 1;
  fprintf(stderr, "%.60s: %s\n", payload, found);
}

static void is_refused(const char *payload, size_t length, const char *said) {
  order_t order;
  char *reason = "it was taken";
  int refused = !order_parse((const uint8_t *)payload, length, &order, &reason);
  check(refused && strstr(reason, said) != NULL, payload, reason);
}

int main(void) {
  const char *good = "{\"id\": \"A-1\", \"customer\": \"ada\", \"amount_cents\": 1, \"note\": \"x\"}";
  order_t order = {0};
  char *reason = "";
  check(order_parse((const uint8_t *)good, strlen(good), &order, &reason), good, reason);
  check(strcmp(order.id, "A-1") == 0 && strcmp(order.customer, "ada") == 0 && order.amount_cents == 1, good, "misread");

  static const char *const WRONG[][2] = {
      {"", "malformed order: "},
      {"null", "malformed order: `id` is not a string"},
      {"[1]", "malformed order: `id` is not a string"},
      {"{\"id\": \"A-1\"", "malformed order: "},
      {"{\"id\": \"A-1\"} and more", "malformed order: "},
      {"{\"id\": \"\xff\"}", "malformed order: "},
      {"{\"id\": \"\\ud800\", \"customer\": \"a\", \"amount_cents\": 1}", "malformed order: "},
      {"{\"id\": \"a\\u0000b\", \"customer\": \"a\", \"amount_cents\": 1}", "malformed order: "},
      {"{\"id\": \"A-1\", \"amount_cents\": 1}", "`customer` is not a string"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": 1.5}", "not a whole number"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": true}", "not a whole number"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": 9223372036854775808}", "not a whole number"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": 99999999999999999999}", "not a whole number"},
      {"{\"id\": \"\", \"customer\": \"a\", \"amount_cents\": 1}", "`id` has 0 bytes, not 1 to 200"},
      {"{\"id\": \"A-1\", \"customer\": \"\", \"amount_cents\": 1}", "`customer` has 0 bytes"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": 0}", "`amount_cents` is 0, not above zero"},
      {"{\"id\": \"A-1\", \"customer\": \"a\", \"amount_cents\": -5}", "`amount_cents` is -5"},
  };
  for (size_t at = 0; at < sizeof WRONG / sizeof *WRONG; at++) is_refused(WRONG[at][0], strlen(WRONG[at][0]), WRONG[at][1]);
  return failed;
}
