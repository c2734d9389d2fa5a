//! The connection cut at every command of a commit and of a pop in turn, before Redis carries the command out and
//! after; said again until it is answered, everything is there once.

use std::time::{Duration, Instant};

use sandhog::job::change::{Changes, Expiry};
use sandhog::job::commit::{Commit, Verdict};
use sandhog::job::store::{JobStore, StoreError};
use sandhog::job::take::{End, TakeReply, take};
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};

use super::commit::{add, push, taken, writes};
use super::{ROOMY, Scene, bare, queue};
use crate::support::faults::{Cut, Proxy};

/// Cut once, everything comes through long before.
const LONG: Duration = Duration::from_secs(10);
/// Far more commands than a scenario sends.
const COMMANDS_MAX: u64 = 60;

fn link(proxy: &Proxy) -> Link {
    let address = Address::parse(&proxy.url(), TlsFiles::default()).unwrap();
    Link::new(&address, "test", Duration::from_secs(10), Tracking::Off).unwrap()
}

/// What was answered in the end, however often it had to be said.
async fn insist<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let begun = Instant::now();
    loop {
        match attempt().await {
            // A link tries again to connect after a moment only.
            Err(StoreError::Fault(fault)) if fault.is_lost() && begun.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer.unwrap(),
        }
    }
}

#[tokio::test]
async fn effects_are_there_once_wherever_the_connection_is_cut() {
    let mut scene = Scene::new().await;
    let host = scene.host.clone();
    for cut in [Cut::Before, Cut::After] {
        for at in 1.. {
            assert!(at < COMMANDS_MAX);
            scene
                .begin(&[&["HSET", ":inflight:HOST", "1", "", "2", "", "3", ""], &["RPUSH", "p", "x"]])
                .await;
            scene.send(&["SCRIPT", "FLUSH"]).await;
            let proxy = Proxy::start(&scene.redis.socket(), at, cut);
            let link = link(&proxy);
            let store = JobStore::new(link.clone(), queue(), ROOMY);
            let entry = taken("p", "f1");
            let popped = insist(async || take(&link, &host, &entry, End::Front, 9).await).await;
            assert_eq!(popped, TakeReply::Entry(b"x".to_vec()), "{cut:?} at {at}");

            let mut first = writes([add("n", 1, Expiry::Keep), push("l", false, &[], &["1"], Expiry::Keep)]);
            first.taken = vec![entry.clone()];
            let (second, third) = (writes([add("n", 10, Expiry::Keep)]), Changes::default());
            let commits = [(1, &first), (2, &second), (3, &third)];
            let commits = commits.map(|(seq, changes)| Commit { slot: bare(seq), others: &[], changes });
            let verdicts = insist(async || store.commit(&link, &host, &commits).await).await;
            let found = scene.dump().await;
            let expected = [("l", "list 1"), ("n", "string 11")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let rest = found.iter().filter(|(key, _)| *key != ":stats").map(|(k, v)| (k.clone(), v.clone()));
            assert!(rest.eq(expected), "{cut:?} at {at}: {found:?}");
            let known = |verdict: &Verdict| matches!(verdict, Verdict::Done | Verdict::Late);
            assert!(verdicts.iter().all(known), "{cut:?} at {at}: {verdicts:?}");
            if !proxy.has_cut() {
                assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done));
                break;
            }
        }
    }
}
