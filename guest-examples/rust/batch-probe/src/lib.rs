//! A batch worker for tests. The first word of each payload says what is to happen:
//!
//! ```text
//! ok 17        the payload is pushed to `receipts`, the job is done
//! retry, bury, discard   what is answered for it, with the payload as the reason; pushed to `receipts` all the same
//! trap, spin, hoard      the call ends so, after what came before in it
//! short, long            one answer too few, or too many
//! set K V, swap K V      a key is set; it is set if it is absent, or else the job is buried
//! ```
//!
//! Each call pushes to `calls` what it was given: the payloads in their order, with commas between. An empty payload is
//! `ok`.

// Links the allocator.
use sandhog_guest as _;

use exports::sandhog::worker::batch_handler::{Failure, Guest, Job};
use sandhog::worker::handler::RetryOptions;
use sandhog::worker::{kv, queue};

wit_bindgen::generate!({ path: "../../../wit", world: "batch-worker", generate_all });
export!(BatchProbe);

struct BatchProbe;

impl Guest for BatchProbe {
    fn handle_batch(jobs: Vec<Job>) -> Vec<Result<(), Failure>> {
        let payloads: Vec<&[u8]> = jobs.iter().map(|job| &job.payload[..]).collect();
        let _ = queue::push("calls", &payloads.join(&b','));
        let mut answers: Vec<_> = jobs.iter().map(handle).collect();
        for payload in payloads {
            match payload {
                b"short" => drop(answers.pop()),
                b"long" => answers.push(Ok(())),
                _ => {}
            }
        }
        answers
    }
}

fn handle(job: &Job) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(&job.payload).into_owned();
    let mut words = text.split(' ');
    let what = words.next().unwrap_or_default();
    match what {
        "trap" => panic!("told to"),
        "spin" => loop {
            std::hint::black_box(());
        },
        "hoard" => loop {
            std::hint::black_box(vec![1_u8; 1 << 20].leak());
        },
        "set" | "swap" => {
            let (key, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let condition = if what == "swap" { kv::Condition::IfAbsent } else { kv::Condition::Always };
            let options = kv::SetOptions { ttl_ms: None, condition };
            match kv::set_with(key, value.as_bytes(), options) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Failure::Bury(text)),
                Err(error) => Err(Failure::Bury(format!("{error:?}"))),
            }
        }
        _ => {
            if let Err(error) = queue::push("receipts", &job.payload) {
                return Err(Failure::Retry(RetryOptions { reason: format!("{error:?}"), after_ms: None }));
            }
            match what {
                "retry" => Err(Failure::Retry(RetryOptions { reason: text, after_ms: Some(1) })),
                "bury" => Err(Failure::Bury(text)),
                "discard" => Err(Failure::Discard(text)),
                _ => Ok(()),
            }
        }
    }
}
