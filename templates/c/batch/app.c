// A batch worker: adds up numbers.
//
// A job's payload is a name and a number, `ada 12`; all jobs of a call with the same name become one addition to
// `total:<name>`. A job that does not read so is buried.

#include <stdlib.h>
#include <string.h>

#include "bindings/batch_worker.h"
#include "sums.h"
#include "text.h"

typedef exports_sandhog_worker_batch_handler_list_job_t jobs_t;
typedef exports_sandhog_worker_batch_handler_list_result_void_failure_t answers_t;
typedef exports_sandhog_worker_batch_handler_result_void_failure_t answer_t;

// A string of ours, as the host takes it.
static batch_worker_string_t string(const char *text) {
  return (batch_worker_string_t){(uint8_t *)text, strlen(text)};
}

static batch_worker_string_t key_of(const entry_t *sum) {
  batch_worker_string_t key = string(text_of("total:%*s", (int)sum->length, ""));
  memcpy(key.ptr + key.len - sum->length, sum->name, sum->length);
  return key;
}

// Never run the job again: to the dead jobs, with this reason.
static answer_t bury(const char *reason) {
  answer_t answer = {.is_err = true};
  answer.val.err.tag = SANDHOG_WORKER_HANDLER_FAILURE_BURY;
  // What is answered is freed once the host has read it, so it is a copy.
  batch_worker_string_dup(&answer.val.err.val.bury, reason);
  return answer;
}

// Memory that is zero; the sandbox frees it. Without any the run ends, and the host knows what to do.
static void *memory_for(size_t count, size_t bytes) {
  void *memory = calloc(count, bytes);
  if (memory == NULL) abort();
  return memory;
}

// One answer for each job, in their order.
void exports_sandhog_worker_batch_handler_handle_batch(jobs_t *jobs, answers_t *answers) {
  *answers = (answers_t){memory_for(jobs->len, sizeof *answers->ptr), jobs->len};
  entry_t *sums = memory_for(jobs->len, sizeof *sums);
  size_t count = 0;
  for (size_t at = 0; at < jobs->len; at++) {
    entry_t entry;
    if (entry_of((const char *)jobs->ptr[at].payload.ptr, jobs->ptr[at].payload.len, &entry)) {
      count = sums_add(sums, count, &entry);
    } else {
      answers->ptr[at] = bury("want NAME NUMBER");
    }
  }
  for (size_t at = 0; at < count; at++) {
    batch_worker_string_t key = key_of(&sums[at]);
    sandhog_worker_types_error_t error;
    // What the host refused: nothing of this call takes place, and its jobs run again.
    if (!sandhog_worker_kv_add(&key, sums[at].number, &error)) abort();
  }
}
