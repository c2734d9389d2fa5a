//! Claims are bounded in bytes, and a payload larger than any run may have is buried without being sent.

use redis::AsyncCommands;
use sandhog::job::envelope::Header;
use sandhog::job::store::{DeadLimits, Order, Turn, TurnReply};

use super::{ROOMY, Scene, payloads, turn};
use crate::support::redis::TestRedis;

/// A claim of up to `claim` jobs with at most so many bytes, none of them with more than 50.
async fn claim(scene: &mut Scene, claim: u32, bytes_max: u64, order: Order) -> TurnReply {
    let (host, next_seq) = (scene.host.clone(), scene.next_seq);
    let turn = Turn { claim, next_seq, order, bytes_max, payload_bytes_max: 50, ..turn(&host, &[]) };
    let reply = scene.store.turn(&turn).await.unwrap();
    scene.next_seq = reply.next_seq;
    reply
}

#[tokio::test]
async fn a_claim_ends_where_its_bytes_are_used_up_and_puts_the_rest_back_in_order() {
    let mut scene = Scene::new().await;
    for (order, expected, left) in [
        (Order::Fifo, ["aaaa", "bbbb"], "list cccc, dddd, ee"),
        (Order::Lifo, ["ee", "dddd"], "list aaaa, bbbb, cccc"),
    ] {
        scene.begin(&[&["RPUSH", "q", "aaaa", "bbbb", "cccc", "dddd", "ee"]]).await;
        let reply = claim(&mut scene, 512, 9, order).await;
        assert_eq!(payloads(&reply.jobs), expected);
        assert!(reply.more, "there is more to claim");
        assert_eq!(scene.dump().await["q"], left);
    }
}

#[tokio::test]
async fn one_job_is_claimed_however_large_it_is() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "q", "aaaaaaaaaaaaaaaaaaaa", "b", "c"]]).await;
    assert_eq!(payloads(&claim(&mut scene, 8, 10, Order::Fifo).await.jobs), ["aaaaaaaaaaaaaaaaaaaa"]);
    assert_eq!(payloads(&claim(&mut scene, 8, 10, Order::Fifo).await.jobs), ["b", "c"]);
}

#[tokio::test]
async fn ready_and_delayed_jobs_count_with_their_envelopes() {
    let mut scene = Scene::new().await;
    let ready = &["RPUSH", ":ready", "1 r1 1 0 5\nx", "1 r2 0 1 5\ny", "1 r3 0 0 5\nz"];
    let due = &["ZADD", ":delayed", "10", "1 d1 2 0 5\nu", "20", "1 d2 2 0 5\nv"];
    scene.begin(&[ready, due]).await;
    assert_eq!(payloads(&claim(&mut scene, 512, 24, Order::Fifo).await.jobs), ["u", "v"]);
    assert_eq!(payloads(&claim(&mut scene, 512, 24, Order::Fifo).await.jobs), ["x", "y"]);
    let reply = claim(&mut scene, 512, 24, Order::Fifo).await;
    assert_eq!(payloads(&reply.jobs), ["z"]);
    assert!(!reply.more);
}

#[tokio::test]
async fn thousands_of_small_jobs_are_claimed_at_once_and_none_is_lost() {
    let mut scene = Scene::new().await;
    let jobs: Vec<String> = (0..2000).map(|n| format!("job {n}")).collect();
    let _: u64 = scene.plain.rpush("q", &jobs).await.unwrap();
    let mut seen = Vec::new();
    for claimed in [512, 512, 512, 464] {
        let reply = claim(&mut scene, 512, 1 << 20, Order::Fifo).await;
        assert_eq!(reply.jobs.len(), claimed);
        seen.extend(payloads(&reply.jobs));
    }
    assert_eq!(seen, jobs);
}

#[tokio::test]
async fn a_payload_too_large_is_buried_unseen_with_its_bytes_and_a_reason() {
    let mut scene = Scene::new().await;
    let (large, larger) = ("l".repeat(51), "m".repeat(60));
    scene.begin(&[&["RPUSH", "q", "a", &large, "b", &larger, "c"]]).await;
    let reply = claim(&mut scene, 8, 1 << 20, Order::Fifo).await;
    assert_eq!(
        (payloads(&reply.jobs), reply.oversized, reply.next_seq),
        (["a", "b", "c"].map(String::from).to_vec(), 2, 5)
    );
    let dead: Vec<Vec<u8>> = scene.plain.zrange("{q}:sandhog:dead", 0, -1).await.unwrap();
    let (header, payload) = Header::decode(&dead[0]).unwrap();
    assert_eq!(payload, large.as_bytes());
    assert_eq!(header.id.as_str(), format!("{}-3", scene.host));
    assert_eq!(
        header.note("!reason").unwrap(),
        "its payload has 51 bytes, and `limits.value` of the plugin is 50"
    );
    assert!(scene.dump().await[":stats"].contains("buried=2, claimed=5"), "{:?}", scene.dump().await);
    let bytes: usize = scene.plain.hget("{q}:sandhog:stats", "dead_bytes").await.unwrap();
    assert_eq!(bytes, dead.iter().map(Vec::len).sum::<usize>());
    // The next claim has other numbers.
    let _: u64 = scene.plain.rpush("q", "d").await.unwrap();
    assert_eq!(claim(&mut scene, 8, 1 << 20, Order::Fifo).await.jobs[0].slot.seq, 5);
}

#[tokio::test]
async fn a_payload_one_byte_too_large_is_buried_however_short_its_header_is() {
    let mut scene = Scene::new().await;
    let long = format!("1 long 0 0 5 note={}\n", "n".repeat(10_000));
    for (header, size, expected) in [
        ("1 short 0 0 5\n", 50, (1, 0)),
        ("1 short 0 0 5\n", 51, (0, 1)),
        (long.as_str(), 50, (1, 0)),
        (long.as_str(), 51, (0, 1)),
        // Hosts do not accept this as an envelope, so all of it is payload.
        ("no header\n", 40, (1, 0)),
        ("no header\n", 41, (0, 1)),
    ] {
        let record = header.to_owned() + &"x".repeat(size);
        for seed in [&["RPUSH", ":ready", &record][..], &["ZADD", ":delayed", "10", &record]] {
            scene.begin(&[seed]).await;
            let reply = claim(&mut scene, 8, 1 << 20, Order::Fifo).await;
            let what = format!("{} and {size} bytes in {}", header.len(), seed[1]);
            assert_eq!((reply.jobs.len(), reply.oversized), expected, "{what}");
        }
    }
}

#[tokio::test]
async fn an_enveloped_payload_too_large_keeps_its_id_and_lets_its_unique_key_go() {
    let mut scene = Scene::new().await;
    let record = format!("1 r1 2 1 5 trace=7 !unique=k\n{}", "x".repeat(20_000));
    scene.begin(&[&["RPUSH", ":ready", &record], &["SET", ":unique:k", "r1"]]).await;
    let reply = claim(&mut scene, 8, 1 << 20, Order::Fifo).await;
    assert_eq!((reply.jobs.len(), reply.oversized), (0, 1));
    let dead: Vec<Vec<u8>> = scene.plain.zrange("{q}:sandhog:dead", 0, -1).await.unwrap();
    let (header, payload) = Header::decode(&dead[0]).unwrap();
    assert_eq!((header.id.as_str(), header.attempts, header.crashes, payload.len()), ("r1", 2, 1, 20_000));
    assert_eq!(header.note("trace"), Some("7"));
    assert!(!scene.dump().await.contains_key(":unique:k"));
}

#[tokio::test]
async fn a_payload_that_dead_jobs_have_no_room_for_is_dropped_and_said_so() {
    let mut scene = Scene::on(TestRedis::start(), DeadLimits { bytes: 300, ..ROOMY }).await;
    scene.begin(&[&["RPUSH", "q", &"l".repeat(301), "a"]]).await;
    let reply = claim(&mut scene, 8, 1 << 20, Order::Fifo).await;
    assert_eq!((payloads(&reply.jobs), reply.oversized), (vec!["a".to_owned()], 1));
    let dead: Vec<Vec<u8>> = scene.plain.zrange("{q}:sandhog:dead", 0, -1).await.unwrap();
    let (header, payload) = Header::decode(&dead[0]).unwrap();
    assert!(payload.is_empty());
    assert_eq!(
        header.note("!reason").unwrap(),
        "its payload has 301 bytes, and `limits.value` of the plugin is 50; it was dropped, for dead jobs may have \
         no more than 300"
    );
}

#[tokio::test]
async fn a_payload_too_large_stays_where_it_is_while_it_cannot_be_buried() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "q", &"l".repeat(51)], &["SET", ":dead", "1"]]).await;
    let host = scene.host.clone();
    let error =
        scene.store.turn(&Turn { claim: 1, payload_bytes_max: 50, ..turn(&host, &[]) }).await.unwrap_err();
    assert!(error.to_string().contains("{q}:sandhog:dead"), "{error}");
    assert_eq!(scene.plain.llen::<_, u64>("q").await.unwrap(), 1);
}

/// Whatever is left of the first node of a list: its size once made claims pop small jobs one by one.
#[tokio::test]
async fn small_jobs_are_popped_many_at_a_time() {
    let mut scene = Scene::new().await;
    let mut push = redis::cmd("RPUSH");
    push.arg("q").arg(vec!["x".repeat(40); 20_000]);
    let _: u64 = push.query_async(&mut scene.plain).await.unwrap();
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut scene.plain).await.unwrap();
    for _ in 0..40 {
        assert_eq!(claim(&mut scene, 400, 1 << 20, Order::Fifo).await.jobs.len(), 400);
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut scene.plain).await.unwrap();
    let calls = |command: &str| -> u64 {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok()).unwrap_or(0)
    };
    let (pops, looks) = (calls("lpop") / 40, calls("memory|usage"));
    assert!(looks > 0, "sizes are measured");
    assert!(pops < 30, "{pops} pops in a claim of 400 jobs");
}
