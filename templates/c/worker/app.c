// A worker that counts words.
//
// For each word of a job's payload it adds 1 to `count:<word>`, and it pushes the number of words to the queue
// `word-counts`. A payload that is no text is buried.

#include <string.h>

#include "bindings/queue_worker.h"
#include "text.h"
#include "utf8.h"
#include "words.h"

typedef exports_sandhog_worker_handler_job_t job_t;
typedef exports_sandhog_worker_handler_failure_t failure_t;

// A string of ours, as the host takes it.
static queue_worker_string_t string(const char *text) {
  return (queue_worker_string_t){(uint8_t *)text, strlen(text)};
}

static queue_worker_string_t key_of(const word_t *word) {
  queue_worker_string_t key = string(text_of("count:%*s", (int)word->length, ""));
  memcpy(key.ptr + key.len - word->length, word->bytes, word->length);
  return key;
}

// Never run the job again: to the dead jobs, with this reason.
static bool bury(failure_t *failure, const char *reason) {
  failure->tag = EXPORTS_SANDHOG_WORKER_HANDLER_FAILURE_BURY;
  // What is answered is freed once the host has read it, so it is a copy.
  queue_worker_string_dup(&failure->val.bury, reason);
  return false;
}

// What the host refused buries the job, unless Redis did not answer: then it runs again, after the back-off of the manifest.
static bool refused(failure_t *failure, const sandhog_worker_types_error_t *error) {
  static const char *const SAID[] = {"the grants do not cover `%.*s`", "`%.*s` holds something else",
                                     "the bound `%.*s` was passed", "%.*s"};
  queue_worker_string_t what = error->val.denied;  // every case holds a string
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  char *reason = text_of(SAID[error->tag & 3], (int)what.len, (const char *)what.ptr);
  if (error->tag != SANDHOG_WORKER_TYPES_ERROR_UNAVAILABLE) return bury(failure, reason);
  failure->tag = EXPORTS_SANDHOG_WORKER_HANDLER_FAILURE_RETRY;
  failure->val.retry.reason = string(reason);
  failure->val.retry.after_ms.is_some = false;
  return false;
}

// True: the job is done.
bool exports_sandhog_worker_handler_handle(job_t *job, failure_t *failure) {
  const char *text = (const char *)job->payload.ptr;
  if (!is_utf8(text, job->payload.len)) return bury(failure, "not text");
  sandhog_worker_types_error_t error;
  unsigned long words = 0;
  word_t word;
  for (const char *at = text; (at = next_word(at, text + job->payload.len, &word)) != NULL; words++) {
    queue_worker_string_t key = key_of(&word);
    if (!sandhog_worker_kv_add(&key, 1, &error)) return refused(failure, &error);
  }
  queue_worker_string_t counts = string("word-counts"), number = string(text_of("%lu", words));
  queue_worker_list_u8_t entry = {number.ptr, number.len};
  uint64_t waiting;
  if (!sandhog_worker_queue_push(&counts, &entry, &waiting, &error)) return refused(failure, &error);
  return true;
}
