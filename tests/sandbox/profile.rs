//! Which engine runs a worker: what its manifest says, or the one that turned out to be faster. What both refuse to do is
//! in `hostile`, where every attack meets each.

use sandhog::sandbox::{Kind, Limits, Outcome, Profile, ProfileChoice, Terms, Version};

use crate::support::guest::{component, load, run, sandbox, terms, worker};
use crate::support::host::until;
use crate::support::log::capture;

/// Fresh runs that are watched, and those that each engine is tried with.
const WATCHED: u32 = 200;
const TRIED: u32 = 200;

/// Traps unless what it grows into is as new, then writes to it.
pub(crate) fn grower() -> Vec<u8> {
    worker(
        "",
        "",
        "(local $at i32)
        (local.set $at (i32.shl (memory.grow (i32.const 2)) (i32.const 16)))
        (if (i64.ne (i64.load offset=70000 (local.get $at)) (i64.const 0)) (then unreachable))
        (i64.store offset=70000 (local.get $at) (i64.const -1))
        i32.const 0",
    )
}

async fn run_well(version: &Version, runs: u32) {
    for _ in 0..runs {
        let report = run(version).await;
        assert_eq!(report.outcome, Outcome::Done);
    }
}

#[tokio::test]
async fn one_that_grows_its_memory_is_tried_with_both() {
    let lines = capture();
    // A name of its own: what is counted below is of this test alone.
    let version = sandbox().load(Terms { plugin: "grower".to_owned(), ..terms() }, &grower()).unwrap();
    assert_eq!((version.profile(), version.is_on_trial()), (Profile::Compute, true));
    run_well(&version, WATCHED).await;
    assert!(version.is_on_trial(), "its code is being compiled");
    until("both were tried", async || {
        run_well(&version, TRIED / 10).await;
        !version.is_on_trial()
    })
    .await;
    let chosen =
        |line: &&String| line.contains("faster engine profile was chosen") && line.contains("grower");
    let lines: Vec<String> = lines.lines().iter().filter(chosen).cloned().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let word = version.profile().word();
    assert!(lines[0].contains(&format!("profile=\"{word}\"")) && lines[0].contains(" short="), "{lines:?}");
    run_well(&version, 100).await;
    assert_eq!(version.profile().word(), word);
}

#[tokio::test]
async fn one_that_does_not_stays_as_it_is() {
    let version = load(&worker("", "", "i32.const 0"));
    run_well(&version, WATCHED - 1).await;
    assert!(version.is_on_trial());
    run_well(&version, 1).await;
    assert_eq!((version.profile(), version.is_on_trial()), (Profile::Compute, false));
}

#[tokio::test]
async fn a_manifest_that_says_which_is_obeyed() {
    for profile in [Profile::Short, Profile::Compute] {
        let terms = Terms { profile: ProfileChoice::Fixed(profile), ..terms() };
        let version = sandbox().load(terms, &grower()).unwrap();
        assert_eq!((version.profile(), version.is_on_trial()), (profile, false));
        run_well(&version, WATCHED + 2 * TRIED).await;
        assert_eq!(version.profile(), profile);
    }
}

#[tokio::test]
async fn memory_ends_where_it_ends_in_both() {
    for profile in [Profile::Short, Profile::Compute] {
        let load = |memory_bytes: u64, body: &str| {
            let limits = Limits { memory_bytes, ..Limits::default() };
            let terms = Terms { profile: ProfileChoice::Fixed(profile), limits, ..terms() };
            sandbox().load(terms, &worker("", "", body)).unwrap()
        };
        // One run leaves memory behind that the next must not reach, though it lies there.
        let grown = load(
            64 << 20,
            "(drop (memory.grow (i32.const 4))) (i32.store offset=300000 (i32.const 0) (i32.const 7)) i32.const 0",
        );
        let beyond = load(64 << 20, "(drop (i32.load offset=300000 (i32.const 0))) i32.const 0");
        for _ in 0..50 {
            assert_eq!(run(&grown).await.outcome, Outcome::Done);
            let outcome = run(&beyond).await.outcome;
            let Outcome::Trapped { reason, .. } = &outcome else { panic!("{profile:?}: {outcome:?}") };
            assert!(reason.contains("out of bounds memory access"), "{profile:?}: {reason}");
        }
        let greedy = load(
            1 << 20,
            "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) i32.const 0",
        );
        assert_eq!(run(&greedy).await.outcome, Outcome::OutOfMemory, "{profile:?}");
    }
}

#[test]
fn what_cannot_gain_is_not_tried() {
    let is_tried = |terms: Terms, bytes: &[u8]| sandbox().load(terms, bytes).unwrap().is_on_trial();
    assert!(is_tried(terms(), &grower()));
    assert!(!is_tried(Terms { reuse: 2, ..terms() }, &grower()), "kept instances grow once");
    // A custom section of 4 MiB, which changes nothing.
    let mut large = grower();
    large.push(0);
    let mut length = (4 << 20) + 2;
    while length >= 128 {
        large.push((length % 128 + 128) as u8);
        length /= 128;
    }
    large.extend([length as u8, 1, b'x']);
    large.extend(vec![0; 4 << 20]);
    assert!(!is_tried(terms(), &large), "it is too large");
    let text = r#"(module $guest (memory (export "memory") 4)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "sandhog:worker/batch-handler@0.1.0#handle-batch") (param i32 i32) (result i32)
            unreachable))"#;
    let batch = component("batch-worker", text);
    assert!(!is_tried(Terms { kind: Kind::BatchWorker, ..terms() }, &batch));
}
