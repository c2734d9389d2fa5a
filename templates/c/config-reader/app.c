// A config reader: makes the setting `greeting` of the key `{{name}}:greeting`.
//
// Workers whose manifest has `config = ["{{name}}"]` among its grants see it as `{{name}}.greeting`. It runs when it is
// loaded, and again whenever the key changes. On an error the last good settings stay.

#include <stdlib.h>
#include <string.h>

#include "bindings/config_reader.h"
#include "greeting.h"
#include "text.h"

// Where the greeting is.
#define KEY "{{name}}:greeting"

// A string of ours, as the host takes it.
static config_reader_string_t string(const char *text) {
  return (config_reader_string_t){(uint8_t *)text, strlen(text)};
}

// What the host said when it refused a call.
static char *said(const sandhog_worker_types_error_t *error) {
  static const char *const SAID[] = {"the grants do not cover `%.*s`", "`%.*s` holds something else",
                                     "the bound `%.*s` was passed", "%.*s"};
  config_reader_string_t what = error->val.denied;  // every case holds a string
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  return text_of(SAID[error->tag & 3], (int)what.len, (const char *)what.ptr);
}

// What is wrong, or NULL: then there is a `greeting`.
static const char *read_greeting(config_reader_string_t *greeting) {
  config_reader_string_t key = string(KEY);
  config_reader_option_list_u8_t value;
  sandhog_worker_types_error_t error;
  if (!sandhog_worker_kv_get(&key, &value, &error)) return said(&error);
  *greeting = value.is_some ? (config_reader_string_t){value.val.ptr, value.val.len} : string(DEFAULT_GREETING);
  return greeting_wrong(KEY, (const char *)greeting->ptr, greeting->len);
}

// True: `settings` are names and values. False: `reason` says what is wrong. What is answered is freed once the host has
// read it, so all of it is a copy.
bool exports_sandhog_worker_config_source_read(config_reader_list_tuple2_string_string_t *settings,
                                               config_reader_string_t *reason) {
  config_reader_string_t greeting;
  const char *wrong = read_greeting(&greeting);
  if (wrong != NULL) {
    config_reader_string_dup(reason, wrong);
    return false;
  }
  config_reader_tuple2_string_string_t *setting = malloc(sizeof *setting);
  // Without memory the run ends, and the host knows what to do.
  if (setting == NULL) abort();
  config_reader_string_dup(&setting->f0, "greeting");
  config_reader_string_dup_n(&setting->f1, (const char *)greeting.ptr, greeting.len);
  *settings = (config_reader_list_tuple2_string_string_t){setting, 1};
  return true;
}
