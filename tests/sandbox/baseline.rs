//! The baseline compiler, for authors: a component behaves as with the other one, and no host that was started with
//! `run` ever executes what it has compiled.

use std::time::Duration;

use sandhog::sandbox::{
    CacheSettings, Compiling, Limits, Outcome, PoolSettings, Profile, Sandbox, Terms, Tier,
};

use crate::support::guest::{compiling, run, run_within, terms, worker};

fn sandbox(compiling: Compiling) -> Sandbox {
    Sandbox::new(&PoolSettings { instances: 4, memory_bytes_max: 64 << 20 }, compiling).unwrap()
}

fn baseline() -> Sandbox {
    sandbox(Compiling { tier: Tier::Baseline, ..compiling() })
}

#[tokio::test]
async fn what_authors_run_is_compiled_by_winch() {
    let version = baseline().load(terms(), &super::profile::grower()).unwrap();
    assert_eq!((version.profile(), version.is_on_trial()), (Profile::Baseline, false));
    assert_eq!(version.profile().compiler(), "Winch");
    for _ in 0..3 {
        assert_eq!(run(&version).await.outcome, Outcome::Done);
    }
}

#[tokio::test]
async fn a_component_with_tail_calls_is_compiled_by_cranelift() {
    let items = "(func $zero (result i32) i32.const 0) (func $tail (result i32) return_call $zero)";
    let version = baseline().load(terms(), &worker("", items, "call $tail")).unwrap();
    assert_eq!(version.profile(), Profile::Compute);
    assert_eq!(run(&version).await.outcome, Outcome::Done);
}

#[test]
fn what_neither_compiler_takes_is_refused_with_the_reason_of_cranelift() {
    let mut broken = worker("", "", "i32.const 0");
    let middle = broken.len() / 2;
    broken[middle..].fill(0xff);
    let [ours, theirs] =
        [baseline(), sandbox(compiling())].map(|sandbox| sandbox.load(terms(), &broken).unwrap_err());
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_loop_is_stopped_and_memory_ends_with_winch_too() {
    let sandbox = baseline();
    let spinning = sandbox.load(terms(), &worker("", "", "(loop $again (br $again)) i32.const 0")).unwrap();
    assert_eq!(run_within(&spinning, Duration::from_millis(50)).await.outcome, Outcome::TimedOut);
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let growing = worker(
        "",
        "",
        "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 4000000) (i32.const 1)) i32.const 0",
    );
    let growing = sandbox.load(Terms { limits, ..terms() }, &growing).unwrap();
    let outcome = run(&growing).await.outcome;
    assert!(matches!(outcome, Outcome::OutOfMemory | Outcome::Trapped { .. }), "{outcome:?}");
    let deep = worker(
        "",
        "(func $deep (param i32) (result i32) (call $deep (local.get 0)))",
        "(call $deep (i32.const 0))",
    );
    let deep = sandbox.load(terms(), &deep).unwrap();
    assert!(matches!(run(&deep).await.outcome, Outcome::Trapped { .. }));
}

#[test]
fn a_host_never_loads_what_winch_has_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheSettings { folder: folder.path().join("compiled"), bytes_max: 1 << 30, make: true };
    let with = |tier| sandbox(Compiling { cache: Some(cache.clone()), tier, ..compiling() });
    let component = worker("", "", "i32.const 0");
    let (author, host) = (with(Tier::Baseline), with(Tier::Optimized));
    author.load(terms(), &component).unwrap();
    assert_eq!(host.load(terms(), &component).unwrap().profile(), Profile::Compute);
    assert_eq!((author.compiled(), host.compiled()), (1, 1), "one does not find what the other keeps");
    // Even under the name that the host looks for.
    let mut files: Vec<_> =
        std::fs::read_dir(&cache.folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    let [winch, cranelift] = files.as_slice() else { panic!("{files:?}") };
    std::fs::copy(winch, cranelift).unwrap();
    let again = with(Tier::Optimized);
    assert_eq!(again.load(terms(), &component).unwrap().profile(), Profile::Compute);
    assert_eq!(again.compiled(), 1);
}
