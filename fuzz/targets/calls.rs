//! A guest that takes its input for calls: each function of `kv` and `queue` with raw arguments, against a real Redis.
//! Whatever it does, it ends in one of a guest's outcomes, within its budget, and touches nothing that was not granted.
//!
//! Input: one byte for the mode of effects, then records of 104 bytes: the function, and 12 words of 64 bits of which
//! the call takes as many as it has arguments, the last of them the place for the answer. All of it lies in the guest's
//! memory from 4096 on, so that a pointer into the input is a number above that.

#![no_main]

mod guest;
mod server;
mod stage;

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sandhog::capability::grant::{Grants, Patterns};
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::job::commit::apply;
use sandhog::sandbox::{JobCall, Outcome, RunContext, Terms, Version};
use sandhog::storage::link::Link;
use stage::{program, sandbox, terms};
use tokio::runtime::Runtime;

struct Stage {
    runtime: Runtime,
    version: Version,
    link: Link,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let link = runtime.block_on(server::start(&program()));
    let some = || Patterns::new(&["g*"]);
    let grants = Grants {
        kv_read: some(),
        kv_write: some(),
        queue_push: some(),
        queue_pop: some(),
        config: Vec::new(),
    };
    let terms = Terms { grants: Arc::new(grants), ..terms() };
    let version = sandbox().load(terms, &guest::component()).expect("it is a good one");
    Stage { runtime, version, link }
});

fuzz_target!(|input: &[u8]| {
    let Some((mode, records)) = input.split_first() else { return };
    let isolation = if mode % 3 == 1 { Isolation::ReadCommitted } else { Isolation::Serializable };
    let atomic = Atomic { isolation, pops: Pops::Look, contention: None };
    let plan = if mode % 3 == 0 { Plan::Immediate } else { Plan::Atomic(Arc::new(atomic)) };
    let Stage { runtime, version, link, .. } = &*STAGE;
    let job = JobCall {
        id: "job-1",
        queue: "jobs",
        payload: &records[..records.len().min(guest::INPUT_BYTES_MAX)],
        attempt: 1,
        max_attempts: 5,
        first_seen_ms: 1,
        headers: &[],
    };
    let context = RunContext {
        link: link.clone(),
        settings: Arc::default(),
        timeout: Duration::from_secs(5),
        plan,
        foresight: None,
        board: None,
    };
    runtime.block_on(async {
        link.query::<()>(&redis::cmd("FLUSHALL")).await.expect("the server answers");
        let report = version.run_job(job, &context).await;
        assert!(matches!(report.outcome, Outcome::Done | Outcome::Trapped { .. }), "{:?}", report.outcome);
        assert!(
            report.usage.calls <= version.limits().kv_calls
                && report.usage.effects <= version.limits().effects
        );
        if let (Some(pending), Outcome::Done) = (report.pending, &report.outcome) {
            apply(link, &pending.changes).await.expect("it is applied or refused");
        }
        let keys: Vec<Vec<u8>> = link.query(redis::cmd("KEYS").arg("*")).await.expect("the server answers");
        let is_granted = |key: &Vec<u8>| key.starts_with(b"g") || key.starts_with(b"{g");
        assert!(keys.iter().all(is_granted), "{keys:?}");
    });
});
