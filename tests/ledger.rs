//! The ledger under faults, in short storms: effects appear exactly once, whatever is killed and whenever.
//! `make chaos` lets a storm go on for as long as wanted.

use std::path::Path;

use crate::storm::Storm;
use crate::storm::fault::Fault;
use crate::storm::weather::{Broken, Weather};
use crate::support::example;

/// Strikes in a round.
const STRIKES: usize = 4;
/// Rounds with swaps: each takes at least one.
const SWAP_ROUNDS: usize = 8;

/// Lets a storm of so many rounds pass. Where the books are wrong, logs and a dump of Redis are left behind.
async fn storm(weather: Weather, rounds: usize) -> Result<Storm, Broken> {
    let program = Path::new(env!("CARGO_BIN_EXE_sandhog"));
    let [ledger, batch] = ["chaos-ledger", "batch-probe"].map(example::component);
    let mut storm = Storm::gather(weather, program, &ledger, &batch);
    for _ in 0..rounds {
        if let Err(mut broken) = storm.round(STRIKES).await {
            broken.problems.push(format!("logs and a dump of Redis are in {}", storm.keep().await.display()));
            return Err(broken);
        }
    }
    Ok(storm)
}

fn of(seed: u64, faults: &[Fault]) -> Weather {
    let faults = faults.iter().map(|fault| (*fault, 1)).collect();
    Weather { faults, swaps: false, mixed: false, twins: false, ..Weather::all(seed) }
}

#[tokio::test(flavor = "multi_thread")]
async fn immediate_effects_break_the_ledger_under_kills() {
    // What makes sure that the other tests here can fail.
    let weather = Weather {
        effects: "mode = \"immediate\"".to_owned(),
        mishaps: false,
        ..of(1, &[Fault::HostKilled, Fault::AllHostsKilled])
    };
    let broken = storm(weather, 10).await.err().expect("a killed host leaves jobs half done");
    // Which of the two shows depends on how far a job had come: to its receipt, or to the balance only.
    let doubled =
        |problem: &String| ["is the first at", "the balance is"].iter().any(|it| problem.contains(it));
    assert!(broken.problems.iter().any(doubled), "{broken}");
}

/// Fails where the books are wrong, or where the storm was none.
#[track_caller]
fn held(storm: Result<Storm, Broken>, kills_min: u64) -> Storm {
    let storm = storm.unwrap_or_else(|broken| panic!("{broken}"));
    let kills = storm.tally.host_kills + storm.tally.redis_kills;
    assert!(kills >= kills_min, "only {kills} kills: {:?}", storm.tally);
    storm
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_whatever_becomes_of_hosts() {
    let faults = [
        Fault::HostKilled,
        Fault::AllHostsKilled,
        Fault::HostTerminated,
        Fault::LeaseRunOut,
        Fault::PluginsReloaded,
        Fault::RecordsDeleted,
    ];
    let mut storm = held(storm(of(11, &faults), 8).await, 15);
    storm.pass_over().await.unwrap_or_else(|broken| panic!("{broken}"));
    let counted = storm.counted().await;
    assert!(counted.contains_key("reaped"), "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_whatever_becomes_of_redis() {
    let faults = [
        Fault::RedisKilled,
        Fault::TailLost,
        Fault::FailedOver,
        Fault::FailedOverLate,
        Fault::ScriptsFlushed,
        Fault::MemoryFull,
        Fault::WrongType,
        Fault::ForeignPop,
    ];
    held(storm(of(12, &faults), 8).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_whatever_becomes_of_connections() {
    let faults = [Fault::ConnectionsKilled, Fault::CutBefore, Fault::CutAfter, Fault::Silence];
    held(storm(of(13, &faults), 8).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_when_hosts_and_redis_die_at_once() {
    let faults = [Fault::HostAndRedisKilled, Fault::EverythingKilled, Fault::HostKilledInFailover];
    held(storm(of(14, &faults), 5).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_in_serializable_isolation() {
    let faults = [
        Fault::HostKilled,
        Fault::AllHostsKilled,
        Fault::LeaseRunOut,
        Fault::RedisKilled,
        Fault::TailLost,
        Fault::FailedOverLate,
        Fault::HostAndRedisKilled,
        Fault::ConnectionsKilled,
        Fault::CutAfter,
        Fault::WrongType,
    ];
    let effects = "mode = \"atomic\"\nisolation = \"serializable\"".to_owned();
    let weather = Weather { effects, portion: 10, swaps: true, ..of(15, &faults) };
    held(storm(weather, 8).await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_while_handlers_are_swapped() {
    let weather = Weather { swaps: true, ..of(16, &[Fault::HostKilled, Fault::AllHostsKilled]) };
    let storm = held(storm(weather, SWAP_ROUNDS).await, 10);
    assert!(storm.tally.swaps >= 5 && storm.tally.broken >= 1, "{:?}", storm.tally);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_when_redis_is_replaced_away_or_slow() {
    let faults = [
        Fault::FailedOverOpen,
        Fault::FailedOverOpenLate,
        Fault::RedisAway,
        Fault::IdleClosed,
        Fault::RedisStalled,
        Fault::RedisBusy,
        Fault::LinkSlow,
    ];
    held(storm(Weather { twins: true, ..of(17, &faults) }, 3).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_with_wrong_clocks_missing_rights_and_mixed_features() {
    let faults = [Fault::ClockAhead, Fault::ClockBehind, Fault::RightsTaken, Fault::HostKilled];
    held(storm(Weather { mixed: true, twins: true, ..of(18, &faults) }, 3).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_outages_use_up_no_attempts() {
    let faults = [
        Fault::RedisKilled,
        Fault::ConnectionsKilled,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Silence,
        Fault::RedisStalled,
    ];
    held(storm(of(19, &faults).strict(), 3).await, 0);
}
