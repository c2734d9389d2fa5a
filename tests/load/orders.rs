//! What a depot reads of the wanted releases if an attacker has written there.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::plugin::depot::{Depot, DepotError};
use sandhog::plugin::fleet::Fleet;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::order;
use sandhog::plugin::release::{Digest, NUMBER_MAX, Release, Wanted};
use sandhog::plugin::signature::PrivateKey;
use sandhog::storage::primary::Primary;

use crate::support::log::capture;
use crate::support::redis::TestRedis;

const KEY: &str = "sandhog:plugins";
const HISTORY: &str = "sandhog:plugins:thumbs:history";
const GIANT_BYTES: usize = 20_000_000;

fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

/// Deploys a component to `plugin`.
async fn deploy(depot: &Depot, plugin: &str) -> Result<Wanted, DepotError> {
    let manifest = "kind = \"worker\"\n".to_owned();
    let release = Release { component: Digest::of(b"component"), manifest, signature: None };
    depot.put(&release, b"component", |_| {}).await.unwrap();
    depot.want(&name(plugin), &release.id(), &release.component, "here").await
}

/// An entry that is valid except for its number.
fn entry(number: &str) -> String {
    let digest = Digest::of(b"");
    format!(r#"{{"release":"{digest}","component":"{digest}","number":{number},"at_ms":1,"by":"x"}}"#)
}

async fn bytes_sent(plain: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(plain).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn an_entry_that_is_very_long_is_left_out_and_not_fetched() {
    let redis = TestRedis::start();
    let (depot, mut plain) = (Depot::new(redis.link()), redis.plain().await);
    let good = deploy(&depot, "thumbs").await.unwrap();
    let giant = "x".repeat(GIANT_BYTES);
    let _: () = plain.hset(KEY, "big", &giant).await.unwrap();
    let _: () = plain.hset(KEY, &giant, "{}").await.unwrap();
    let _: () = plain.hset(KEY, b"\xff\n", "{}").await.unwrap();
    let _: () = plain.lpush(HISTORY, &giant).await.unwrap();
    let before = bytes_sent(&mut plain).await;
    let mut wanted = depot.wanted().await.unwrap();
    assert_eq!(wanted.entries, [(name("thumbs"), good.clone())].into());
    wanted.left_out.sort();
    let expected = [
        "`sandhog:plugins` has an entry `\u{fffd}\\n`, which is not the name of a plugin; remove it",
        "`sandhog:plugins` has an entry with a name of 20000000 bytes; remove it",
        "the entry `big` of `sandhog:plugins` has 20000000 bytes, and can have 4096 at the most; it is left out until \
         `big` is deployed again",
    ];
    assert_eq!(wanted.left_out, expected);
    let history = depot.history(&name("thumbs")).await.unwrap();
    assert_eq!(history.entries, std::slice::from_ref(&good));
    let line =
        format!("entry 0 of `{HISTORY}` has 20000000 bytes, and can have 4096 at the most; it is left out");
    assert_eq!(history.left_out, [line]);
    let again = deploy(&depot, "thumbs").await.unwrap();
    assert_eq!(again.number, good.number + 1, "the script does not read it either");
    assert_eq!(deploy(&depot, "big").await.unwrap().number, 1);
    let sent = bytes_sent(&mut plain).await - before;
    assert!(sent < 100_000, "{sent} bytes were sent");
}

#[tokio::test]
async fn a_number_that_no_deploy_can_follow_is_refused_and_not_stored() {
    let redis = TestRedis::start();
    let (depot, mut plain) = (Depot::new(redis.link()), redis.plain().await);
    deploy(&depot, "thumbs").await.unwrap();
    for number in
        ["9007199254740992", "9007199254740993", "18446744073709551615", "1e30", "1.5", "-1", "1e999"]
    {
        let _: () = plain.hset(KEY, "thumbs", entry(number)).await.unwrap();
        let refused = deploy(&depot, "thumbs").await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "the latest entry of plugin `thumbs` in `sandhog:plugins` has a number that no deploy has (above \
             9007199254740992, negative or not whole): Sandhog did not write it; remove it with `HDEL sandhog:plugins \
             thumbs`, then deploy again",
            "{number}"
        );
        assert_eq!(
            plain.hget::<_, _, String>(KEY, "thumbs").await.unwrap(),
            entry(number),
            "nothing was stored"
        );
    }
    let left_out = depot.wanted().await.unwrap().left_out;
    let text = "the entry `thumbs` of `sandhog:plugins` cannot be read: ";
    assert!(left_out.len() == 1 && left_out[0].starts_with(text), "{left_out:?}");
    // The remedy in the message works: the next number continues from the history.
    let _: () = plain.hdel(KEY, "thumbs").await.unwrap();
    assert_eq!(deploy(&depot, "thumbs").await.unwrap().number, 2);
    let _: () = plain.lpush(HISTORY, entry("1e16")).await.unwrap();
    let refused = deploy(&depot, "thumbs").await.unwrap_err().to_string();
    assert!(refused.contains(&format!("remove it with `LPOP {HISTORY}`")), "{refused}");
    let _: () = plain.lpop(HISTORY, None).await.unwrap();
    assert_eq!(deploy(&depot, "thumbs").await.unwrap().number, 3);
}

/// By default, Lua writes only 14 digits of a number.
#[tokio::test]
async fn the_highest_number_is_stored_with_all_its_digits() {
    let redis = TestRedis::start();
    let (depot, mut plain) = (Depot::new(redis.link()), redis.plain().await);
    let _: () = plain.hset(KEY, "thumbs", entry(&(NUMBER_MAX - 1).to_string())).await.unwrap();
    let wanted = deploy(&depot, "thumbs").await.unwrap();
    assert_eq!(wanted.number, NUMBER_MAX);
    assert_eq!(depot.wanted().await.unwrap().entries, [(name("thumbs"), wanted.clone())].into());
    assert_eq!(depot.history(&name("thumbs")).await.unwrap().entries, [wanted]);
}

/// Each order is signed with its number. If another deploy has used the number, the order must be signed again.
#[tokio::test]
async fn of_signed_deploys_at_once_the_last_one_is_also_signed_last() {
    let redis = TestRedis::start();
    let key = PrivateKey::generate().unwrap();
    let trusted = [key.public()];
    deploy(&Depot::new(redis.link()), "thumbs").await.unwrap();
    let deploys = async |depot: Depot| {
        let (component, mut done) = (Digest::of(b"component"), Vec::new());
        let release = depot.wanted().await.unwrap().entries[&name("thumbs")].release.clone();
        for _ in 0..10 {
            let signed = depot.want_signed(&name("thumbs"), &release, &component, "x", &key, &trusted).await;
            done.push(signed.unwrap());
        }
        done
    };
    let (one, two) = tokio::join!(deploys(Depot::new(redis.link())), deploys(Depot::new(redis.link())));
    let mut all: Vec<Wanted> = one.into_iter().chain(two).collect();
    all.sort_by_key(|wanted| wanted.number);
    let numbers: Vec<u64> = all.iter().map(|wanted| wanted.number).collect();
    assert_eq!(numbers, (2..=21).collect::<Vec<_>>());
    let times: Vec<u64> = all.iter().map(|w| order::verify(&name("thumbs"), w, &trusted).unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    assert_eq!(Depot::new(redis.link()).wanted().await.unwrap().entries[&name("thumbs")], all[19]);
}

/// The clock of one machine may be behind that of another.
#[tokio::test]
async fn a_signed_deploy_is_later_than_the_one_before_whatever_the_clock_says() {
    let redis = TestRedis::start();
    let (depot, mut plain) = (Depot::new(redis.link()), redis.plain().await);
    let key = PrivateKey::generate().unwrap();
    let first = deploy(&depot, "thumbs").await.unwrap();
    let ahead_ms = 9_000_000_000_000;
    let signed = Some(order::sign(&key, &name("thumbs"), &first.release, first.number, ahead_ms));
    let ahead = Wanted { signed, ..first };
    let _: () = plain.hset(KEY, "thumbs", serde_json::to_string(&ahead).unwrap()).await.unwrap();
    let (release, component) = (&ahead.release, &ahead.component);
    let trusted = [key.public()];
    let next = depot.want_signed(&name("thumbs"), release, component, "x", &key, &trusted).await.unwrap();
    assert_eq!(order::verify(&name("thumbs"), &next, &trusted), Ok(ahead_ms + 1));
}

#[tokio::test]
async fn a_host_logs_once_that_an_entry_is_left_out() {
    let redis = TestRedis::start();
    let (depot, mut plain) = (Depot::new(redis.link()), redis.plain().await);
    let _: () = plain.hset(KEY, "big", "x".repeat(5000)).await.unwrap();
    let captured = capture();
    let mut fleet = Fleet::new(&Primary::at(&redis.address(), Duration::from_secs(5))).unwrap();
    assert!(fleet.changed().await.is_empty());
    for plugin in ["thumbs", "other"] {
        let wanted = deploy(&depot, plugin).await.unwrap();
        assert_eq!(fleet.changed().await.get(&name(plugin)), Some(&wanted));
    }
    let lines = captured.lines();
    let about: Vec<&String> = lines.iter().filter(|line| line.contains("the entry `big` of")).collect();
    assert_eq!(about.len(), 1, "{lines:?}");
    assert!(about[0].contains("5000 bytes") && about[0].contains("4096 at the most"), "{about:?}");
}
