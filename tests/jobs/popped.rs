//! Lists that a host's runs popped from are remembered exactly as long as there is a record of a popped entry.

use sandhog::job::change::{Changes, Taken};
use sandhog::job::commit::{Commit, Verdict};
use sandhog::job::lease::Death;
use sandhog::job::lease::Leases;
use sandhog::job::name::QueueName;
use sandhog::job::take::{End, put_back, take};

use super::commit::taken;
use super::{Scene, bare};

impl Scene {
    /// Pops an entry of a list that has one.
    async fn pop(&mut self, list: &str, n: u64) -> Taken {
        self.send(&["RPUSH", list, "x"]).await;
        let record = Taken::new(QueueName::new(list).unwrap(), End::Front, n);
        take(&self.link, &self.host, &record, End::Front, 10).await.unwrap();
        record
    }

    /// The lists that are remembered.
    async fn remembered(&mut self) -> String {
        self.dump_all().await.remove("sandhog:host:HOST").unwrap_or_default()
    }
}

#[tokio::test]
async fn a_list_is_remembered_until_its_last_entry_is_settled() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["HSET", ":inflight:HOST", "1", "a", "2", "b"]]).await;
    let mut popped = Vec::new();
    for (nth, list) in ["one", "one", "two", "two", "three"].into_iter().enumerate() {
        popped.push(scene.pop(list, nth as u64).await);
    }
    assert_eq!(scene.remembered().await, "hash pop:one=, pop:three=, pop:two=");
    for (slot, left) in [(1, "hash pop:one=, pop:three=, pop:two="), (2, "hash pop:three=, pop:two=")] {
        let changes = Changes { taken: vec![popped.remove(0)], ..Changes::default() };
        let commit = Commit { slot: bare(slot), others: &[], changes: &changes };
        let verdicts = scene.store.commit(&scene.link, &scene.host, &[commit]).await;
        assert_eq!(verdicts, Ok(vec![Verdict::Done]));
        assert_eq!(scene.remembered().await, left, "after job {slot}");
    }
    for left in ["hash pop:three=, pop:two=", "hash pop:three="] {
        put_back(&scene.link, &scene.host, &[popped.remove(0)]).await.unwrap();
        assert_eq!(scene.remembered().await, left);
    }
    // The reaper that returns the entry of a dead host forgets the list as well.
    let three = sandhog::job::store::JobStore::new(
        scene.link.clone(),
        QueueName::new("three").unwrap(),
        super::ROOMY,
    );
    assert_eq!(three.reap(&scene.host, Death::Certain, 3).await.unwrap().moved, 1);
    assert_eq!(scene.remembered().await, "");
    let found = scene.dump().await;
    assert_eq!((&*found["two"], &*found["three"]), ("list x, x", "list x"));
}

#[tokio::test]
async fn lists_without_records_are_forgotten_a_page_at_a_time() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let kept = scene.pop("kept", 1).await;
    let notes: Vec<String> = (0..5_000).flat_map(|nth| [format!("pop:inbox:{nth}"), String::new()]).collect();
    let mut set = vec!["HSET", "sandhog:host:HOST", "queues", "[\"q\"]"];
    set.extend(notes.iter().map(String::as_str));
    scene.send(&set).await;
    let kept_list = [kept.queue.clone()];
    assert_eq!(leases.popped_from(&scene.host).await.unwrap(), kept_list);
    assert_eq!(scene.remembered().await, "hash pop:kept=, queues=[\"q\"]");
    assert_eq!(leases.popped_from(&scene.host).await.unwrap(), kept_list);
    let queues = leases.queues_of(&scene.host).await.unwrap();
    let names: Vec<&str> = queues.iter().map(QueueName::as_str).collect();
    assert_eq!(names, ["q", "kept"]);
}

#[tokio::test]
async fn a_host_that_served_very_many_queues_is_forgotten_in_bounded_steps() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let queues: Vec<QueueName> = (0..3_500).map(|nth| QueueName::new(format!("q{nth}")).unwrap()).collect();
    // A queue has records, so the host is not forgotten.
    for full in [0, 1_700, 3_499] {
        let records = format!("{{q{full}}}:sandhog:inflight:HOST");
        scene.begin(&[&["HSET", &records, "f1", "x"]]).await;
        assert_eq!(leases.forget(&scene.host, true, &queues).await, Ok(false), "{full}");
    }
    scene.begin(&[&["CONFIG", "SET", "slowlog-log-slower-than", "0"], &["SLOWLOG", "RESET"]]).await;
    assert_eq!(leases.forget(&scene.host, true, &queues).await, Ok(true));
    assert!(scene.dump_all().await.is_empty());
    let log = format!("{:?}", scene.send(&["SLOWLOG", "GET", "-1"]).await);
    // Redis logs at most 31 arguments of a long command, and the number of the others.
    let longest = log.split("... (").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).max();
    let longest: u32 = longest.unwrap();
    assert!((500..1_100).contains(&longest), "{longest} arguments");
}

#[tokio::test]
async fn popping_again_remembers_the_list_again() {
    let mut scene = Scene::new().await;
    let first = scene.pop("p", 1).await;
    put_back(&scene.link, &scene.host, &[first]).await.unwrap();
    assert_eq!(scene.remembered().await, "");
    scene.send(&["DEL", "p"]).await;
    scene.pop("p", 2).await;
    assert_eq!(scene.remembered().await, "hash pop:p=");
    let wanted = taken("p", "f2");
    put_back(&scene.link, &scene.host, &[wanted]).await.unwrap();
    assert_eq!(scene.remembered().await, "");
}
