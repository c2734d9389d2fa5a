//! What operators, producers, schedules and the registry of hosts do, on a queue with a spoiled key.

use std::time::Duration;

use redis::Script;
use sandhog::job::edit::{Which, discard, pause, requeue};
use sandhog::job::filter::Filter;
use sandhog::job::hold::{Hold, hold};
use sandhog::job::import::{Imported, import};
use sandhog::job::inspect::{self, Place};
use sandhog::job::lease::{HostInfo, Leases};
use sandhog::job::lost;
use sandhog::job::producer::scripts;
use sandhog::job::push::{PushOptions, Pushed, push};
use sandhog::job::schedule::book;
use sandhog::job::schedule::fired::Fired;
use sandhog::job::schedule::firing::{self, Due};
use sandhog::job::schedule::plan::{Firing, Step};
use sandhog::job::schedule::{Missed, Schedule, When};
use sandhog::job::transfer::read;
use sandhog::job::walk::{Change, change};

use super::super::{Scene, host, queue};
use super::act::{Act, DEFINITION};

const LEASE: Duration = Duration::from_secs(60);

pub async fn act(scene: &mut Scene, kind: &str, what: &str) -> Act {
    match kind {
        "registry" => registry(scene, what).await,
        "push" => producers(scene, what).await,
        "edit" => edit(scene, what).await,
        "change" => changes(scene, what).await,
        "schedule" => schedules(scene, what).await,
        _ => panic!("no act `{kind}: {what}`"),
    }
}

async fn registry(scene: &mut Scene, what: &str) -> Act {
    let leases = Leases::new(scene.link.clone());
    let info = HostInfo { queues: vec![queue()], ..HostInfo::default() };
    match what {
        "register" => Act::of(leases.register("new", 9, LEASE, &info, &[]).await).0,
        "renew" => Act::of(leases.renew(&[&scene.host], LEASE).await).0,
        "describe" => Act::of(leases.describe(&scene.host, &info).await).0,
        "forget" => Act::of(leases.forget(&host(2), true, &[]).await).0,
        "expired" => Act::of(leases.expired(LEASE, 0).await).0,
        "seat" => Act::of(leases.of_seat(scene.host.seat()).await).0,
        "search" => Act::of(lost::search(&scene.link, LEASE).await).0,
        "popped" => Act::of(leases.popped_from(&host(2)).await).0,
        _ => Act::of(leases.list().await).0,
    }
}

async fn producers(scene: &mut Scene, what: &str) -> Act {
    let delay = (what == "delayed").then_some(LEASE);
    if matches!(what, "" | "delayed") {
        let unique = Some(("u9".to_owned(), LEASE));
        let options = PushOptions { delay, unique, result_kept: Some(LEASE), ..PushOptions::default() };
        let (mut act, pushed) = Act::of(push(&scene.link, &queue(), b"job-91", &options).await);
        if pushed.is_some_and(|pushed| !matches!(pushed, Pushed::Duplicate)) {
            act.added.push("job-91");
        }
        return act;
    }
    let wanted = if what == "its result" { "result" } else { "push" };
    let shipped = scripts().into_iter().find(|script| script.name == wanted).unwrap();
    let script = Script::new(shipped.text);
    let mut call = script.key("q");
    if wanted == "push" {
        call.arg(&["job-92", "unique", "u10", "60000", "header", "a", "b", "result", "9000"]);
    } else {
        call.arg("i8");
    }
    let (mut act, _) = Act::of(call.invoke_async::<redis::Value>(&mut scene.plain).await);
    if wanted == "push" && act.refused.is_none() {
        act.added.push("job-92");
    }
    act
}

async fn edit(scene: &mut Scene, what: &str) -> Act {
    let link = &scene.link;
    let all = |place| Which::All(place);
    match what {
        "trim" => Act::of(scene.store.trim().await).0,
        "counts" => Act::of(inspect::counts(link, &queue()).await).0,
        "pages" => {
            for place in
                [Place::Waiting, Place::Ready, Place::Delayed, Place::Dead, Place::Parked, Place::Inflight]
            {
                if let Err(error) = inspect::search(link, &queue(), place, &Filter::default(), None, 9).await
                {
                    return Act::of::<(), _>(Err(error)).0;
                }
            }
            Act::default()
        }
        "requeue dead" => Act::of(requeue(link, &queue(), &all(Place::Dead), 9, |_| {}).await).0,
        "requeue delayed" => Act::of(requeue(link, &queue(), &all(Place::Delayed), 9, |_| {}).await).0,
        "discard dead" => discard_place(scene, Place::Dead, &["job-07"]).await,
        "discard delayed" => discard_place(scene, Place::Delayed, &["job-05", "job-06"]).await,
        "discard ready" => discard_place(scene, Place::Ready, &["job-03", "job-04"]).await,
        "import" => {
            let line = |place: &str, nth: u32| {
                read(&format!(
                    r#"{{"place":"{place}","id":"n{nth}","attempts":0,"crashes":0,"first_seen_ms":5,"at_ms":8000000000000,"headers":[],"payload":"job-{nth}"}}"#
                ))
                .unwrap()
            };
            let carried = [line("dead", 93), line("delayed", 94), line("ready", 95)];
            let mut sum = Imported::default();
            let (mut act, _) = Act::of(import(link, &queue(), &carried, &mut sum, |_| {}).await);
            act.added = vec!["job-93", "job-94", "job-95"];
            act.added_count = usize::try_from(sum.added).ok();
            act
        }
        "pause" => Act::of(pause(link, &queue()).await).0,
        _ => Act::of(hold(link, Hold::Plugin("p")).await).0,
    }
}

async fn discard_place(scene: &Scene, place: Place, jobs: &[&'static str]) -> Act {
    let thrown = discard(&scene.link, &queue(), &Which::All(place), 9, |_| {}).await;
    Act::ending(thrown.map(|changed| changed.jobs), jobs)
}

async fn changes(scene: &mut Scene, what: &str) -> Act {
    let (place, does, jobs): (_, _, &[&str]) = match what {
        "revive dead" => (Place::Dead, Change::Requeue(None), &[]),
        "revive delayed" => (Place::Delayed, Change::Requeue(None), &[]),
        "remove waiting" => (Place::Waiting, Change::Cancel, &["job-01", "job-02"]),
        "remove ready" => (Place::Ready, Change::Cancel, &["job-03", "job-04"]),
        "remove delayed" => (Place::Delayed, Change::Discard, &["job-05", "job-06"]),
        "remove parked" => (Place::Parked, Change::Cancel, &["job-15", "job-16"]),
        _ => (Place::Inflight, Change::Cancel, &["job-08", "job-09", "job-10", "job-12", "job-13"]),
    };
    let filter = Filter::default();
    // Changes made before a page was refused are reported as well.
    let mut so_far = 0;
    let told = |_, _, changed| so_far = changed;
    let result = change(&scene.link, &queue(), &[place], &filter, does, told).await;
    let mut act = Act::of(result).0;
    if !jobs.is_empty() && so_far > 0 {
        (act.ended, act.ended_count) = (jobs.to_vec(), usize::try_from(so_far).ok());
    }
    act
}

async fn schedules(scene: &mut Scene, what: &str) -> Act {
    let link = &scene.link;
    let given = Schedule {
        queue: "q".to_owned(),
        when: When::Every(60_000),
        jitter_ms: 0,
        payload: "job-96".to_owned(),
        headers: Vec::new(),
        missed: Missed::Skip,
    };
    let kept = Schedule { payload: String::new(), ..given.clone() };
    match what {
        "put" => Act::of(book::put(link, "nightly", &kept).await).0,
        "declare" => Act::of(book::declare(link, "h", true, &[("nightly".to_owned(), kept)]).await).0,
        "look" => match book::list(link).await {
            Ok(_) => Act::of(firing::due(link, "h", 0).await).0,
            refused => Act::of(refused).0,
        },
        "fire" => {
            let next = Some(Firing { slot: 60_000, at: 60_000 });
            let step = Step { fire: Some(5), next, fired: Fired::read("") };
            let (mut act, fired) = Act::of(firing::fire(link, &due(5), &given, &step).await);
            if fired == Some(true) {
                act.added.push("job-96");
            }
            act
        }
        // A schedule that waits for a far slot is reset to its next one.
        "reset" => Act::of(firing::reset(link, &due(5), 1).await).0,
        "pause" => known(book::pause(link, "nightly").await),
        _ => known(book::remove(link, "nightly").await),
    }
}

fn due(slot: u64) -> Due {
    let (firing, definition) = (Firing { slot, at: slot }, DEFINITION.to_owned());
    Due { name: "nightly".to_owned(), firing, definition, fired: String::new() }
}

/// "No such schedule" is a valid answer.
fn known(result: Result<(), book::BookError>) -> Act {
    match result {
        Err(book::BookError::Unknown(_)) => Act::default(),
        result => Act::of(result).0,
    }
}
