//! What is tried on a queue with a spoiled key: claims, ends of runs, commits, pops. The commands of operators, producers
//! and schedules are in `operate`.

use std::sync::LazyLock;
use std::time::Duration;

use sandhog::job::change::{Changes, Expiry, Write};
use sandhog::job::commit::{Commit, Verdict};
use sandhog::job::envelope::Header;
use sandhog::job::heal::Heal;
use sandhog::job::lease::Death;
use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use sandhog::job::name::JobId;
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{Delivery, Order, Slot, StoreError, Turn};
use sandhog::job::take::{End, put_back, take};

use super::super::commit::{add, push, set, taken, writes};
use super::super::{Scene, bare, enveloped, header, host, turn};
use super::{Dump, operate};

/// A schedule as Redis holds it.
pub const DEFINITION: &str = r#"{"queue":"q","when":{"every":60000}}"#;

/// Everything that is tried, and the scripts that it calls.
pub const ACTS: [(&str, &[&str]); 63] = [
    ("turn: claim", &["turn"]),
    ("turn: acknowledge", &["turn"]),
    ("turn: both", &["turn"]),
    ("turn: at most once", &["turn"]),
    ("turn: too large", &["turn"]),
    ("turn: claim, limits", &["turn"]),
    ("turn: acknowledge, limits", &["turn"]),
    ("turn: both, limits", &["turn"]),
    ("turn: claim, rates", &["turn"]),
    ("settle: complete", &["complete"]),
    ("settle: discard", &["complete"]),
    ("settle: retry", &["retry"]),
    ("settle: retry in order", &["retry"]),
    ("settle: bury", &["bury"]),
    ("settle: release", &["release"]),
    ("settle: give back", &["release"]),
    ("commit", &["commit"]),
    ("commit: freeing", &["commit"]),
    ("commit: several", &["commit"]),
    ("take", &["take"]),
    ("put back", &["put_back"]),
    ("reap", &["reap"]),
    ("reap: poison", &["reap"]),
    ("heal", &["heal"]),
    ("heal: no limit", &["heal"]),
    ("registry: register", &["register"]),
    ("registry: renew", &["renew"]),
    ("registry: describe", &["describe"]),
    ("registry: forget", &["forget"]),
    ("registry: expired", &["expired"]),
    ("registry: list", &["hosts"]),
    ("registry: seat", &["seat"]),
    ("registry: search", &["search", "readmit"]),
    ("registry: popped", &["field_names", "popped"]),
    ("push", &["push"]),
    ("push: delayed", &["push"]),
    ("push: a producer's", &["producer/push"]),
    ("push: its result", &["producer/result"]),
    ("edit: trim", &["trim"]),
    ("edit: counts", &["counts"]),
    ("edit: pages", &["page"]),
    ("edit: requeue dead", &["requeue"]),
    ("edit: requeue delayed", &["requeue"]),
    ("edit: discard dead", &["discard"]),
    ("edit: discard delayed", &["discard"]),
    ("edit: discard ready", &["discard"]),
    ("edit: import", &["import"]),
    ("edit: pause", &["hold"]),
    ("edit: hold", &["hold"]),
    ("change: revive dead", &["revive"]),
    ("change: revive delayed", &["revive"]),
    ("change: remove waiting", &["remove"]),
    ("change: remove ready", &["remove"]),
    ("change: remove delayed", &["remove"]),
    ("change: remove parked", &["remove"]),
    ("change: cancel", &["cancel"]),
    ("schedule: put", &["schedule_put"]),
    ("schedule: declare", &["schedule_declare"]),
    ("schedule: look", &["schedule_due", "schedule_list"]),
    ("schedule: fire", &["schedule_fire"]),
    ("schedule: reset", &["schedule_reset"]),
    ("schedule: pause", &["schedule_edit"]),
    ("schedule: remove", &["schedule_edit"]),
];

/// Acts that change nothing if no key is spoiled.
pub const READS: [&str; 10] = [
    "registry: seat",
    "registry: search",
    "schedule: reset",
    "registry: list",
    "registry: popped",
    "push: its result",
    "edit: trim",
    "edit: counts",
    "edit: pages",
    "schedule: look",
];

/// What an act reports about itself.
#[derive(Default)]
pub struct Act {
    /// Why it was refused, if it was.
    pub refused: Option<String>,
    /// Jobs that may be gone now, and how many of them; all by default.
    pub ended: Vec<&'static str>,
    pub ended_count: Option<usize>,
    /// The same for jobs that are new.
    pub added: Vec<&'static str>,
    pub added_count: Option<usize>,
    /// Other effects: a key and what it must contain.
    pub effects: Vec<(&'static str, String)>,
}

impl Act {
    pub fn of<T, E: ToString>(result: Result<T, E>) -> (Self, Option<T>) {
        match result {
            Ok(value) => (Self::default(), Some(value)),
            Err(error) => (Self { refused: Some(error.to_string()), ..Self::default() }, None),
        }
    }

    /// An act that ends `count` of these jobs.
    pub fn ending(result: Result<u64, StoreError>, jobs: &[&'static str]) -> Self {
        let (mut act, count) = Self::of(result);
        if let Some(count) = count {
            (act.ended, act.ended_count) = (jobs.to_vec(), usize::try_from(count).ok());
        }
        act
    }

    pub fn ended_count(&self) -> usize {
        self.ended_count.unwrap_or(self.ended.len())
    }

    pub fn added_count(&self) -> usize {
        self.added_count.unwrap_or(self.added.len())
    }

    pub fn missing_effect(&self, after: &Dump) -> Option<String> {
        let is_missing = |(key, held): &&(&str, String)| after.get(*key) != Some(held);
        self.effects.iter().find(is_missing).map(|(key, held)| format!("`{key}` does not hold `{held}`"))
    }
}

/// Runs the named act.
pub async fn act(scene: &mut Scene, name: &str) -> Act {
    let (kind, what) = name.split_once(": ").unwrap_or((name, ""));
    match kind {
        "turn" => turns(scene, what).await,
        "settle" => settle(scene, what).await,
        "commit" => commit(scene, what).await,
        "take" => {
            let record = taken("q", "f14");
            Act::of(take(&scene.link, &scene.host, &record, End::Front, 100).await).0
        }
        "put back" => Act::of(put_back(&scene.link, &scene.host, &[taken("q", "f13")]).await).0,
        "reap" => {
            let crashes_max = if what == "poison" { 3 } else { 9 };
            Act::of(scene.store.reap(&host(2), Death::Expired, crashes_max).await).0
        }
        "heal" => {
            let key_concurrency = u32::from(what.is_empty());
            let host = scene.host.clone();
            let heal = Heal { host: &host, key_concurrency, gap_ms: 0, records_max: 100, bytes_max: 1 << 20 };
            Act::of(scene.store.heal(&scene.link, &heal).await).0
        }
        _ => operate::act(scene, kind, what).await,
    }
}

static LIMITS: LazyLock<[QueueLimits; 2]> = LazyLock::new(|| {
    let key = KeyLimits {
        source: KeySource::Header("t".to_owned()),
        concurrency: Some(2),
        rate: None,
        in_order: true,
    };
    let rate = Some(Rate { count: 1_000, per: Duration::from_secs(1) });
    let rated = KeyLimits { concurrency: None, rate, ..key.clone() };
    [
        QueueLimits { fleet_concurrency: Some(100), rate: None, key: Some(key) },
        QueueLimits { fleet_concurrency: None, rate, key: Some(rated) },
    ]
});

async fn turns(scene: &mut Scene, what: &str) -> Act {
    let (what, limits) = what.split_once(", ").unwrap_or((what, ""));
    let acks: &[Slot] = if matches!(what, "both" | "acknowledge") { &[enveloped(10), bare(11)] } else { &[] };
    let host = scene.host.clone();
    let mut turn = Turn { claim: 8, next_seq: 100, ..turn(&host, acks) };
    match limits {
        "limits" => turn.limits = &LIMITS[0],
        "rates" => turn.limits = &LIMITS[1],
        _ => {}
    }
    match what {
        "acknowledge" => turn.claim = 0,
        "at most once" => turn.delivery = Delivery::AtMostOnce,
        "too large" => turn.payload_bytes_max = 3,
        _ => {}
    }
    let result = scene.store.turn(&turn).await;
    // Acknowledgements are accepted whatever is wrong with the claim, unless the key of records itself is spoiled.
    let records = scene.store.keys().inflight(&host);
    let are_taken = !matches!(&result, Err(StoreError::WrongType(key)) if *key == records);
    let (mut act, reply) = Act::of(result);
    if are_taken && !acks.is_empty() {
        act.ended = vec!["job-08", "job-09"];
        act.ended_count = reply.as_ref().map(|reply| usize::try_from(reply.settled).unwrap());
    }
    if let (Some(reply), Delivery::AtMostOnce) = (&reply, turn.delivery) {
        act.ended = vec!["job-01", "job-02", "job-03", "job-04", "job-05"];
        act.ended_count = Some(reply.jobs.len());
    }
    act
}

async fn settle(scene: &mut Scene, what: &str) -> Act {
    let mut notes = vec![("t", "a"), ("!unique", "u8"), ("!result", "9000"), ("!reason", "r")];
    if matches!(what, "retry in order" | "release" | "give back") {
        notes.push(("!key", "a"));
    }
    let fate = match what {
        "complete" => Fate::Complete,
        "discard" => Fate::Discard,
        "bury" => Fate::Bury,
        "release" => Fate::Release,
        "give back" => Fate::GiveBack(Order::Fifo),
        _ => Fate::Retry { delay_ms: 60_000 },
    };
    let mut settlements = vec![Settlement { slot: enveloped(10), header: header("i8", 1, 0, &notes), fate }];
    let id = JobId::claimed(&scene.host, 11);
    let plain = Header { id, attempts: 1, crashes: 0, first_seen_ms: 5, notes: Vec::new() };
    if what == "give back" {
        settlements.push(Settlement { slot: bare(11), header: plain, fate });
    }
    let mut act = Act::default();
    for answer in scene.store.settle(&scene.host, &settlements).await.unwrap() {
        let (answered, owned) = Act::of(answer);
        if owned == Some(true) && matches!(fate, Fate::Complete | Fate::Discard) {
            act.ended.push("job-08");
        }
        // One of the two may be refused: each is a separate script.
        if settlements.len() == 1 {
            act.refused = answered.refused;
        }
    }
    act
}

/// Jobs of one call that add to one number and one list, as most calls do.
async fn commit(scene: &mut Scene, what: &str) -> Act {
    let effects =
        |entry: &str| vec![add("n", 1, Expiry::Keep), push("l", false, &[], &[entry], Expiry::Keep)];
    let (fields, changes): (Vec<(Slot, Vec<Slot>)>, Vec<Changes>) = match what {
        "freeing" => {
            (vec![(enveloped(10), Vec::new())], vec![writes([Write::Delete { key: "k".to_owned() }])])
        }
        "several" => (vec![(enveloped(10), vec![bare(11)])], vec![writes(effects("a"))]),
        _ => {
            let mut first = effects("a");
            first.push(set("s", b"v", Expiry::Never));
            let popped = Changes { taken: vec![taken("q", "f13")], ..writes(effects("c")) };
            let fields = [enveloped(10), bare(11), enveloped(12)].map(|slot| (slot, Vec::new()));
            (fields.to_vec(), vec![writes(first), writes(effects("b")), popped])
        }
    };
    let commits: Vec<Commit<'_>> = fields
        .iter()
        .zip(&changes)
        .map(|((slot, others), changes)| Commit { slot: *slot, others, changes })
        .collect();
    let (mut act, verdicts) = Act::of(scene.store.commit(&scene.link, &scene.host, &commits).await);
    let Some(verdicts) = verdicts else { return act };
    let done: Vec<bool> = verdicts.iter().map(|verdict| *verdict == Verdict::Done).collect();
    let ends: &[&[&str]] = match what {
        "several" => &[&["job-08", "job-09"]],
        _ => &[&["job-08"], &["job-09"], &["job-10", "job-11"]],
    };
    for (nth, _) in done.iter().enumerate().filter(|(_, done)| **done) {
        act.ended.extend(ends[nth]);
    }
    if what != "freeing" && done.contains(&true) {
        let letters =
            ["a", "b", "c"].into_iter().zip(&done).filter(|(_, done)| **done).map(|(letter, _)| letter);
        let letters: Vec<&str> = letters.collect();
        act.effects.push(("n", format!("string {}", letters.len())));
        act.effects.push(("l", format!("list {}", letters.join("\u{1f}"))));
    }
    if what.is_empty() && done[0] {
        act.effects.push(("s", "string v".to_owned()));
    }
    act
}
