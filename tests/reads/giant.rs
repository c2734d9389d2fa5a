//! Values that are as long as Redis allows: each read gets a reply without the values.

use redis::aio::MultiplexedConnection;
use redis::cmd;
use sandhog::job::hold::{self, Hold};
use sandhog::job::inspect;
use sandhog::job::lease::Leases;
use sandhog::job::lost;
use sandhog::job::name::{HostId, JobId, QueueName};
use sandhog::job::schedule::{book, firing};
use sandhog::job::status;
use sandhog::job::store::{DeadLimits, JobStore, Slot};
use sandhog::storage::bounded::{self, Bound, Element, Of};

use crate::support::redis::TestRedis;

/// Much more than any of the replies.
const GIANT_BYTES: usize = 5_000_000;
const LEASE: std::time::Duration = std::time::Duration::from_secs(60);

async fn bytes_sent(plain: &mut MultiplexedConnection) -> u64 {
    let info: String = cmd("INFO").arg("stats").query_async(plain).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

/// Sends a command in which `GIANT` is a text of `GIANT_BYTES`.
async fn send(plain: &mut MultiplexedConnection, words: &str) {
    let giant = "x".repeat(GIANT_BYTES);
    let mut words = words.split(' ');
    let mut command = cmd(words.next().unwrap());
    for word in words {
        command.arg(word.replace("GIANT", &giant));
    }
    let _: redis::Value = command.query_async(plain).await.unwrap();
}

/// Every read of a key that others can fill answers, with a reply that is much smaller than what is there.
#[tokio::test]
async fn what_somebody_made_very_long_is_not_fetched() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    let queue = QueueName::new("q").unwrap();
    let host = HostId::new("h", 1, 1_700_000_000_000).unwrap();
    let about = format!("sandhog:host:{host}");
    let inflight = format!("{{q}}:sandhog:inflight:{host}");
    for seed in [
        format!("ZADD sandhog:hosts 1 {host} 2 hGIANT"),
        format!("HSET {about} queues GIANT plugins GIANT origin GIANT version 1 pop:q GIANT pop:GIANT 1"),
        "RPUSH sandhog:swaps GIANT".to_owned(),
        "SADD sandhog:queues q GIANT".to_owned(),
        "HSET sandhog:held plugin:a 5 plugin:b GIANT GIANT 1".to_owned(),
        format!("HSET {inflight} 7 job GIANT 1"),
        format!("SET {{q}}:sandhog:word:{host} GIANT"),
        "SET {q}:sandhog:progress:a GIANT".to_owned(),
        "HSET {q}:sandhog:stats completed 3 GIANT 1 failed GIANT".to_owned(),
        "ZADD sandhog:schedules 5 nightly 6 GIANT".to_owned(),
        "HSET sandhog:schedule:nightly definition GIANT slot 5 fired GIANT paused 1".to_owned(),
        "HSET {q}:sandhog:inflight:GIANT 1 a".to_owned(),
    ] {
        send(&mut plain, &seed).await;
    }
    let leases = Leases::new(link.clone());
    let store = JobStore::new(link.clone(), queue.clone(), DeadLimits { count: 9, age_ms: 9, bytes: 9 });
    let before = bytes_sent(&mut plain).await;

    let rows = leases.list().await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].info.version.as_str(), rows[0].info.queues.len()), ("1", 0));
    let swaps = leases.swaps(100).await.unwrap();
    assert_eq!(swaps.entries.len(), 0);
    let line = "entry 0 of `sandhog:swaps` has 5000000 bytes, and can have 4096 at the most; it is left out";
    assert_eq!(swaps.left_out, [line]);
    assert_eq!(leases.of_seat(host.seat()).await.unwrap()[0].origin, "");
    let only = std::slice::from_ref(&queue);
    assert_eq!(leases.served_by(&host).await.unwrap(), only, "all queues that were ever served");
    assert_eq!(leases.popped_from(&host).await.unwrap(), only);
    assert_eq!(inspect::known_queues(&link).await.unwrap(), only);
    let holds = hold::read(&link).await.unwrap();
    assert_eq!(holds.since_ms(Hold::Plugin("a")), Some(5));
    assert_eq!(holds.since_ms(Hold::Plugin("b")), Some(0), "it is held, whoever spoiled the time");
    let slot = Slot { seq: 7, enveloped: false };
    assert_eq!(store.inflight(&host).await.unwrap(), [slot]);
    assert_eq!(store.fetch(&host, &[slot]).await.unwrap().len(), 1);
    assert!(store.word(&host).await.unwrap().is_some_and(|word| word.len() <= 64));
    let progress = status::progress(&link, &queue, &[JobId::new("a").unwrap()]).await.unwrap();
    assert_eq!(progress, [None]);
    let counts = inspect::counts(&link, &queue).await.unwrap();
    assert_eq!(counts.stats, [("completed".to_owned(), 3)].into());
    assert_eq!(book::list(&link).await.unwrap().len(), 2);
    let due = firing::due(&link, "seat", 0).await.unwrap().due;
    assert_eq!((due.len(), due[0].definition.as_str()), (2, ""));
    let refused = book::resume(&link, "nightly").await.unwrap_err().to_string();
    assert!(refused.contains("has 5000000 bytes, and can have 1048576 at the most"), "{refused}");
    lost::search(&link, LEASE).await.unwrap();
    assert_eq!(
        leases.expired(LEASE, 0).await.unwrap().hosts,
        [] as [HostId; 0],
        "all begin again after an outage"
    );

    let sent = bytes_sent(&mut plain).await - before;
    assert!(sent < 200_000, "{sent} bytes were sent");
}

#[tokio::test]
async fn a_collection_is_read_up_to_its_bound_and_refused_beyond() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    for seed in ["HSET hash a 1 b 22222", "RPUSH list a b c", "SADD set a b c", "ZADD zset 1 a 2 b 3 c"] {
        send(&mut plain, seed).await;
    }
    let whole = |text: &str| Element::Whole(text.as_bytes().to_vec());
    let bound = |elements| Bound { elements, bytes: 4 };
    let pairs = bounded::pairs(&link, "hash", bound(2)).await.unwrap();
    assert_eq!(pairs, [(whole("a"), whole("1")), (whole("b"), Element::TooLong(5))]);
    let fields = bounded::read(&link, "hash", Of::Fields(&["x", "b", "a"]), bound(3)).await.unwrap();
    assert_eq!(fields, [Element::Absent, Element::TooLong(5), whole("1")]);
    let list = bounded::read(&link, "list", Of::List, bound(2)).await.unwrap();
    assert_eq!(list, [whole("a"), whole("b")], "the first ones of a list, however many there are");
    let sorted = bounded::texts(&link, "zset", Of::Sorted, bound(3)).await.unwrap();
    assert_eq!(sorted, ["a", "b", "c"]);
    for (key, of) in [("hash", Of::Hash), ("hash", Of::Names), ("set", Of::Set), ("zset", Of::Sorted)] {
        let refused = bounded::read(&link, key, of, bound(1)).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("`{key}` has ")) && refused.ends_with("and 1 are read at the most"),
            "{refused}"
        );
    }
    let wrong = bounded::read(&link, "list", Of::Hash, bound(9)).await.unwrap_err();
    assert!(wrong.is_code("WRONGTYPE"), "{wrong}");
    assert_eq!(bounded::read(&link, "absent", Of::Hash, bound(9)).await, Ok(Vec::new()));
}
