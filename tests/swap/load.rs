//! Swaps under full load, and what is left of the versions afterwards.

use std::collections::BTreeSet;

use super::{Stage, stamp, stamped};
use crate::support::host::{stop, until};

/// Swaps in a row.
const SWAPS: u32 = 50;
/// One in so many is broken.
const BROKEN_EVERY: u32 = 5;
/// Jobs that wait at each swap: more than run in the meantime.
const JOBS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_under_load_lose_nothing_and_mix_nothing() {
    let mut stage = Stage::new().await;
    let mut good = 0;
    for n in 1..=SWAPS {
        stage.push(JOBS).await;
        let before = stage.report().version;
        if n % BROKEN_EVERY == 0 {
            // A text, half a component, a manifest that grants too little to start: in turn.
            let whole = stamped(&stamp(n));
            let half: &[u8] = if n % 2 == 0 { b"no component" } else { &whole[..whole.len() / 2] };
            stage.plugins.put("edition", half, &super::manifest(n, ""));
            let refused = stage.host.reload().await.unwrap_err().to_string();
            assert!(refused.contains("edition.wasm"), "{refused}");
            assert_eq!(stage.report().version, before, "the old version goes on");
            assert!(stage.report().refusal.is_some());
        } else {
            stage.put(n, "");
            stage.host.reload().await.unwrap();
            assert_ne!(stage.report().version, before);
            assert_eq!(stage.report().refusal, None);
            good += 1;
        }
    }
    stage.completed(None).await;
    let ran: BTreeSet<u32> = stage.ran().await.into_iter().collect();
    assert!(ran.len() > 10, "only versions {ran:?} ran of {good}");
    assert!(ran.iter().all(|n| *n == 0 || n % BROKEN_EVERY != 0), "a broken version ran: {ran:?}");
    until("only one version is left", async || stage.report().versions.len() == 1).await;
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_changes_queues_and_terms_with_the_code() {
    let mut stage = Stage::new().await;
    stage.push(10).await;
    stage.completed(None).await;
    // Another queue beside the first, then only the other.
    let both = super::manifest(1, "").replace("[grants]", "[[consume]]\nqueue = \"more\"\n[grants]");
    stage.plugins.put("edition", &stamped(&stamp(1)), &both);
    stage.host.reload().await.unwrap();
    assert_eq!(stage.report().queues, ["q", "more"]);
    let only = super::manifest(2, "").replace("queue = \"q\"", "queue = \"more\"");
    stage.plugins.put("edition", &stamped(&stamp(2)), &only);
    stage.host.reload().await.unwrap();
    let queues = || stage.host.lanes().iter().map(|lane| lane.queue.to_string()).collect::<Vec<_>>();
    assert_eq!((stage.report().queues, queues()), (vec!["more".to_owned()], vec!["more".to_owned()]));
    // And back: the lane of a queue that was given up is opened anew.
    stage.put(3, "");
    stage.host.reload().await.unwrap();
    stage.push(10).await;
    stage.completed(10).await;
    assert!(stage.ran().await.ends_with(&[3; 10]));
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_to_load_holds_up_no_other() {
    let stage = Stage::new().await;
    // Loops when it is started: refused after seconds.
    let endless =
        crate::support::guest::worker("", "(func $spin (loop $l (br $l))) (start $spin)", "(i32.const 0)");
    stage.plugins.put("slow", &endless, "kind = \"worker\"\n[[consume]]\nqueue = \"slow\"\n");
    stage.put(1, "");
    let (slow, ()) = tokio::join!(stage.host.reload(), async {
        until("the other is swapped", async || stage.report().version != digest(0)).await;
        let slow = stage.host.plugins().into_iter().find(|plugin| plugin.name == "slow").unwrap();
        assert!(slow.loading && slow.refusal.is_none(), "{slow:?}");
    });
    let refused = slow.unwrap_err().to_string();
    assert!(refused.contains("slow.wasm: does not start within"), "{refused}");
    assert_eq!(stage.report().refusal, None);
    stop(stage.host).await;
}

fn digest(n: u32) -> String {
    sandhog::plugin::release::Digest::of(&stamped(&stamp(n))).as_str().to_owned()
}
