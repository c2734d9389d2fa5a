//! `sandhog push --wait`: what became of the job, and its result.

use std::time::{Duration, Instant};

use sandhog::job::name::{JobId, QueueName};
use sandhog::job::status::{self, Ending};
use sandhog::job::store::StoreError;
use sandhog::storage::link::{Link, Tracking};
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{output, text};

/// How long one question waits for its answer: Redis gives it the moment there is one.
const ASK: Duration = Duration::from_secs(5);
/// Wait before a lost connection is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Exit code when the job has not ended in time.
const NOT_YET: u8 = 3;
/// Exit code when the job has ended without being completed: what this program fails at itself has another.
const NOT_COMPLETED: u8 = 4;

/// How to wait for a result, and how to print it.
pub(super) struct Wait {
    /// The longest time to wait.
    pub(super) longest: Option<Duration>,
    /// Prints the result unchanged on a terminal, too.
    pub(super) is_raw: bool,
}

/// Waits for the end of a job and prints its result.
pub(super) async fn print_result(context: &Context, queue: &QueueName, id: &JobId, how: &Wait) -> Outcome {
    let settings = context.settings()?;
    let patience = settings.redis.timeout.saturating_add(ASK);
    let link = Link::new(&settings.redis.address, "results", patience, Tracking::Off)?;
    let name = text::visible(queue.as_str().as_bytes(), 80);
    match wait(&link, queue, id, how.longest).await? {
        Some(Ending::Done(value)) if context.out.is_json() => {
            let result = output::payload(&value);
            let document =
                json!({ "outcome": "done", "queue": queue.as_str(), "id": id.as_str(), "result": result });
            Ok(context.out.document(&document)?)
        }
        Some(Ending::Done(value)) => Ok(output::foreign(&value, how.is_raw)?),
        Some(Ending::Failed(word, reason)) => {
            let why = if reason.is_empty() {
                String::new()
            } else {
                format!(": {}", text::visible(reason.as_bytes(), 1000))
            };
            if context.out.is_json() {
                let reason = (!reason.is_empty()).then_some(reason);
                context.out.document(
                    &json!({ "outcome": word, "queue": queue.as_str(), "id": id.as_str(), "reason": reason }),
                )?;
            }
            Err(Failure::failed(format!(
                "job `{id}` of `{name}` is {}{why}",
                text::visible(word.as_bytes(), 20)
            ))
            .with_code(NOT_COMPLETED))
        }
        None => {
            let waited = text::elapsed(how.longest.unwrap_or_default());
            let failure =
                Failure::failed(format!("job `{id}` of `{name}` has not ended after {waited}; it goes on"));
            Err(failure
                .with_code(NOT_YET)
                .with_hint(format!("`sandhog jobs show {name} {id}` tells where it is")))
        }
    }
}

async fn wait(
    link: &Link,
    queue: &QueueName,
    id: &JobId,
    longest: Option<Duration>,
) -> Result<Option<Ending>, StoreError> {
    let begun = Instant::now();
    loop {
        let left = longest.map_or(ASK, |longest| longest.saturating_sub(begun.elapsed()));
        if left.is_zero() {
            return Ok(None);
        }
        match status::await_result(link, queue, id, left.min(ASK)).await {
            Ok(None) => {}
            // A Redis that restarts has the job, and will have its result.
            Err(StoreError::Fault(fault)) if fault.is_lost() => {
                tokio::time::sleep(AGAIN).await;
                // Whether it worked shows with the next question.
                let _ = link.connect().await;
            }
            answer => return answer,
        }
    }
}
