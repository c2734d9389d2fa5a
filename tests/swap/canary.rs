//! New versions that are tried on a share of the runs before they take all.

use sandhog::job::report::VersionState;
use sandhog::plugin::release::Digest;

use super::{Stage, stamp, stamped};
use crate::support::host::{stop, until};

/// A trial that ends only if the version is bad.
const LONG: &str = "[canary]\nshare = 0.25\nfor = \"1h\"\n";

fn version(n: u32) -> String {
    Digest::of(&stamped(&stamp(n))).as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_has_its_share_and_then_all() {
    let mut stage = Stage::new().await;
    stage.put(1, LONG);
    stage.host.reload().await.unwrap();
    assert_eq!(stage.state(&version(1)), Some(VersionState::Canary));
    assert_eq!(stage.report().version, version(0), "the old version is the current one");
    stage.push(1000).await;
    stage.completed(None).await;
    let ran = stage.ran().await;
    let tried = ran.iter().filter(|n| **n == 1).count();
    assert!((245..=255).contains(&tried), "{tried} of 1000 runs, not a quarter");
    // The same code, and a trial that ends at once.
    stage.put(1, "[canary]\nshare = 0.25\nfor = \"1ms\"\n");
    stage.host.reload().await.unwrap();
    until("the canary takes all", async || stage.state(&version(1)) == Some(VersionState::Current)).await;
    stage.push(100).await;
    stage.completed(1100).await;
    assert!(stage.ran().await.ends_with(&[1; 100]));
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_is_rolled_back_and_its_jobs_complete() {
    let mut stage = Stage::new().await;
    stage.put(1, &format!("fails = \"always\"\n{LONG}"));
    stage.host.reload().await.unwrap();
    stage.push(1000).await;
    stage.completed(None).await;
    assert!(stage.ran().await.iter().all(|n| *n == 0), "what a failed run wrote is not there");
    until("it is rolled back", async || stage.state(&version(1)) != Some(VersionState::Canary)).await;
    let refusal = stage.report().refusal.unwrap();
    assert!(
        refusal.contains("was rolled back") && refusal.contains("max_failure_rate` is 0.05"),
        "{refusal}"
    );
    assert_eq!(stage.report().version, version(0));
    // A good version after it is taken, and the refusal is forgotten.
    stage.put(2, "");
    stage.host.reload().await.unwrap();
    assert_eq!((stage.report().version, stage.report().refusal), (version(2), None));
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_version_takes_the_place_of_the_canary() {
    let mut stage = Stage::new().await;
    stage.put(1, LONG);
    stage.host.reload().await.unwrap();
    stage.put(2, LONG);
    stage.host.reload().await.unwrap();
    assert_ne!(stage.state(&version(1)), Some(VersionState::Canary));
    assert_eq!(stage.state(&version(2)), Some(VersionState::Canary));
    // Back to what is served: nothing is tried any more.
    stage.put(0, "");
    stage.host.reload().await.unwrap();
    stage.push(100).await;
    stage.completed(None).await;
    assert!(stage.ran().await.iter().all(|n| *n == 0));
    stop(stage.host).await;
}
