//! Several jobs that one run has completed: they end together with its effects, or none of them does.

use sandhog::job::change::{Changes, Expiry, Seen};
use sandhog::job::commit::{Commit, Verdict, Why};
use sandhog::job::store::Slot;

use super::commit::{add, assuming, push_job, set, writes};
use super::{Scene, bare, enveloped};

/// One job with a unique key and a place of its key, one with neither, one plain.
const INFLIGHT: &[&str] = &[
    "HSET",
    ":inflight:HOST",
    "1",
    "a",
    "e2",
    "1 two 1 0 5 !unique=u !key=t\nb",
    "3",
    "c",
    "e4",
    "1 four 1 0 5\nd",
];
const RECORDS: &str = "hash 1=a, 3=c, e2=1 two 1 0 5 !unique=u !key=t\\nb, e4=1 four 1 0 5\\nd";

impl Scene {
    async fn commit_several(&mut self, slots: &[Slot], changes: &Changes) -> Verdict {
        let commit = Commit { slot: slots[0], others: &slots[1..], changes };
        self.store.commit(&self.link, &self.host, &[commit]).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn they_end_together_with_the_effects() {
    let mut scene = Scene::new().await;
    let places: &[&str] = &["HSET", ":places", "t", "1"];
    scene.begin(&[INFLIGHT, places, &["SET", ":unique:u", "two"]]).await;
    let slots = [bare(1), enveloped(2), bare(3)];
    let verdict = scene.commit_several(&slots, &writes([set("s", b"v", Expiry::Never)])).await;
    assert_eq!(verdict, Verdict::Done);
    let after = [
        (":inflight:HOST", "hash e4=1 four 1 0 5\\nd"),
        // The place of `t` is free.
        (":places", "hash  =0"),
        (":stats", "hash commits=3, completed=3, effects=1"),
        ("s", "string v"),
    ];
    scene.expect("three of four", &after).await;
}

#[tokio::test]
async fn a_unique_key_of_any_of_them_can_be_handed_on() {
    let mut scene = Scene::new().await;
    scene.begin(&[INFLIGHT, &["SET", ":unique:u", "two"]]).await;
    let next = writes([push_job("next", None, Some("u"))]);
    assert_eq!(scene.commit_several(&[bare(1), bare(3)], &next).await, Verdict::Conflict(unique()));
    assert_eq!(scene.commit_several(&[bare(1), enveloped(2)], &next).await, Verdict::Done);
    let dump = scene.dump().await;
    assert!(dump[":unique:u"].starts_with("string next"), "{dump:?}");
    assert_eq!(dump[":inflight:HOST"], "hash 3=c, e4=1 four 1 0 5\\nd");
}

fn unique() -> String {
    format!("{{{}}}:sandhog:unique:u", super::queue().as_str())
}

#[tokio::test]
async fn if_one_is_gone_none_ends_and_it_is_told_which() {
    let mut scene = Scene::new().await;
    scene.begin(&[INFLIGHT]).await;
    let changes = writes([add("n", 1, Expiry::Keep)]);
    let slots = [bare(9), bare(1), enveloped(7), enveloped(4)];
    let verdict = scene.commit_several(&slots, &changes).await;
    assert_eq!(verdict, Verdict::Parted(vec![bare(9), enveloped(7)]));
    let untouched = [(":inflight:HOST", RECORDS), (":stats", "hash late=2")];
    scene.expect("two gone", &untouched).await;
    // What has been applied, and is said again because nobody heard the answer.
    let all = [bare(1), enveloped(4)];
    assert_eq!(scene.commit_several(&all, &changes).await, Verdict::Done);
    assert_eq!(scene.commit_several(&all, &changes).await, Verdict::Late);
    assert_eq!(scene.dump().await["n"], "string 1");
}

#[tokio::test]
async fn what_speaks_against_the_effects_leaves_all_of_them() {
    let mut scene = Scene::new().await;
    scene.begin(&[INFLIGHT, &["RPUSH", "l", "x"]]).await;
    let slots = [bare(1), enveloped(2), bare(3), enveloped(4)];
    let conflict = scene.commit_several(&slots, &assuming("l", Seen::Absent)).await;
    assert_eq!(conflict, Verdict::Conflict("l".to_owned()));
    let refused = scene.commit_several(&slots, &writes([add("l", 1, Expiry::Keep)])).await;
    assert_eq!(refused, Verdict::Refused { key: "l".to_owned(), why: Why::WrongType });
    let untouched = [(":inflight:HOST", RECORDS), (":stats", "hash conflicts=1"), ("l", "list x")];
    scene.expect("nothing has changed", &untouched).await;
}
