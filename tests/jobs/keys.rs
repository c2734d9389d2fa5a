//! Keys of jobs, as the claim finds them in payloads: no payload escapes the limit of its key, and the notes of a claim
//! can always be read again. Also rates combined with places, and buckets in the future.

use redis::AsyncCommands;
use sandhog::job::envelope::{HEADER_BYTES_MAX, Header};
use sandhog::job::limit::{KeyLimits, QueueLimits, Rate};
use sandhog::job::producer;
use sandhog::job::settle::Fate;
use sandhog::job::store::Turn;

use super::limits::{SECOND, key, of, slots, step};
use super::{Scene, payloads, turn};

/// How many jobs are parked for each key.
async fn parked(scene: &mut Scene) -> String {
    scene.dump().await.remove(":parked").unwrap_or_default()
}

#[tokio::test]
async fn no_payload_of_a_tenant_escapes_its_limit() {
    let mut scene = Scene::new().await;
    let deep = format!(r#"{{"x":{}{},"tenant":"a"}}"#, "[".repeat(2000), "]".repeat(2000));
    let payloads = [
        of("a", 1),
        format!("\u{feff}{}", of("a", 2)),
        deep,
        r#"{"text":"\ud800","tenant":"a"}"#.to_owned(),
        r#"{"tenant":"a"} and more"#.to_owned(),
        r#"{"t\u0065nant":"\u0061"}"#.to_owned(),
        r#"{"tenant":"b","tenant":"a"}"#.to_owned(),
        format!(r#"{{"text":"{}","tenant":"a"}}"#, "x".repeat(1 << 20)),
    ];
    scene.begin(&[]).await;
    let _: u64 = scene.plain.rpush("q", &payloads).await.unwrap();
    let limits = key("/tenant", Some(1), None);
    let mut claimed = Vec::new();
    for _ in 0..payloads.len() {
        claimed.extend(step(&mut scene, &[], 16, &limits).await.jobs);
    }
    assert_eq!(claimed.len(), 1);
    assert_eq!(parked(&mut scene).await, "hash  =7, a=7");
}

#[tokio::test]
async fn unreadable_payloads_share_one_limited_key() {
    let mut scene = Scene::new().await;
    let many = format!(r#"{{"tenant":"a","rows":[{}]}}"#, vec![r#"{"a":1}"#; 20_000].join(","));
    scene.begin(&[&["RPUSH", "q", "no JSON", "{", &many, r#"{"tenant":"a""#, r#"{"tenant":"b"}"#]]).await;
    let limits = key("/tenant", Some(1), None);
    let mut claimed = Vec::new();
    for _ in 0..4 {
        claimed.extend(payloads(&step(&mut scene, &[], 8, &limits).await.jobs));
    }
    assert_eq!(claimed, ["no JSON", r#"{"tenant":"b"}"#]);
    let found = scene.dump().await;
    assert_eq!(found[":parked"], "hash  =3, (unreadable)=3");
    assert!(found[":stats"].contains("unreadable=4"), "{}", found[":stats"]);
}

#[tokio::test]
async fn large_numbers_are_different_keys() {
    let mut scene = Scene::new().await;
    let jobs = [9_007_199_254_740_992_u64, 9_007_199_254_740_993].map(|n| format!(r#"{{"account":{n}}}"#));
    scene.begin(&[&["RPUSH", "q", &jobs[0], &jobs[1]]]).await;
    assert_eq!(step(&mut scene, &[], 8, &key("/account", Some(1), None)).await.jobs.len(), 2);
}

#[tokio::test]
async fn a_key_that_is_not_utf8_does_not_damage_the_payload() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    let payload = b"{\"tenant\":\"\xff\xed\xa0\x80\"}";
    let _: u64 = scene.plain.rpush("q", &payload[..]).await.unwrap();
    let reply = step(&mut scene, &[], 8, &key("/tenant", Some(1), None)).await;
    assert_eq!(reply.jobs[0].payload, payload);
    assert_eq!(reply.jobs[0].header.note("!key").unwrap().len(), 40, "a digest");
}

#[tokio::test]
async fn a_full_header_can_be_read_after_limits_add_to_it() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    let tenant = "t".repeat(80);
    let script = redis::Script::new(producer::scripts().remove(0).text);
    let push = |filler: usize| {
        let mut call = script.key("q");
        call.arg("THE PAYLOAD").arg("id").arg("i".repeat(128)).arg("header").arg("tenant").arg(&tenant);
        call.arg("header").arg("filler").arg("f".repeat(filler));
        call
    };
    // The longest header that is accepted.
    let (mut fits, mut too_long) = (0, HEADER_BYTES_MAX);
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        match push(middle).invoke_async::<redis::Value>(&mut scene.plain).await {
            Ok(_) => fits = middle,
            Err(_) => too_long = middle,
        }
    }
    scene.begin(&[]).await;
    for _ in 0..3 {
        let _: redis::Value = push(fits).invoke_async(&mut scene.plain).await.unwrap();
    }
    let rate = Some(Rate { count: 1, per: SECOND * 100 });
    let source = sandhog::job::limit::KeySource::Header("tenant".to_owned());
    let key = Some(KeyLimits { source, concurrency: Some(1), rate, in_order: true });
    let limits = QueueLimits { key, ..QueueLimits::default() };
    for _ in 0..3 {
        let reply = step(&mut scene, &[], 8, &limits).await;
        assert_eq!(payloads(&reply.jobs), ["THE PAYLOAD"]);
        assert_eq!(reply.jobs[0].header.id.as_str(), "i".repeat(128));
        step(&mut scene, &slots(&reply.jobs), 0, &limits).await;
        // The next job gets its place, is delayed, and becomes due.
        step(&mut scene, &[], 8, &limits).await;
        let delayed: Vec<Vec<u8>> = scene.plain.zrange("{q}:sandhog:delayed", 0, -1).await.unwrap();
        for envelope in delayed {
            assert!(Header::decode(&envelope).is_ok());
            let _: u64 = scene.plain.zadd("{q}:sandhog:delayed", envelope, 5).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_header_without_room_for_its_key_is_buried_with_the_reason() {
    let mut scene = Scene::new().await;
    let filler = "f".repeat(HEADER_BYTES_MAX - 40);
    let record = format!("1 full 0 0 5 tenant=a f={filler}\nTHE PAYLOAD");
    assert!(Header::decode(record.as_bytes()).is_ok());
    scene.begin(&[&["RPUSH", ":ready", &record, "1 next 0 0 5 tenant=a\nnext"]]).await;
    let reply = step(&mut scene, &[], 8, &key("header:tenant", Some(1), None)).await;
    assert_eq!((payloads(&reply.jobs), reply.oversized), (vec!["next".to_owned()], 1));
    let dead: Vec<Vec<u8>> = scene.plain.zrange("{q}:sandhog:dead", 0, -1).await.unwrap();
    let (header, payload) = Header::decode(&dead[0]).unwrap();
    assert_eq!((header.id.as_str(), payload), ("full", &b"THE PAYLOAD"[..]));
}

/// One job at a time, one start in 100 s.
fn one_at_a_time() -> QueueLimits {
    let mut limits = key("/tenant", Some(1), Some(1));
    let of_key = limits.key.as_mut().unwrap();
    (of_key.in_order, of_key.rate) = (true, Some(Rate { count: 1, per: SECOND * 100 }));
    limits
}

async fn delayed(scene: &mut Scene) -> Vec<(Vec<u8>, f64)> {
    scene.plain.zrange_withscores("{q}:sandhog:delayed", 0, -1).await.unwrap()
}

#[tokio::test]
async fn a_job_delayed_by_its_key_rate_is_not_overtaken() {
    let mut scene = Scene::new().await;
    let limits = one_at_a_time();
    scene.begin(&[&["RPUSH", "q", &of("a", 1), &of("a", 2), &of("a", 3)]]).await;
    let mut seen = Vec::new();
    for nth in 4..8 {
        let reply = step(&mut scene, &[], 8, &limits).await;
        seen.extend(payloads(&reply.jobs));
        step(&mut scene, &slots(&reply.jobs), 0, &limits).await;
        // One more job arrives while the first one is delayed.
        let _: u64 = scene.plain.rpush("q", of("a", nth)).await.unwrap();
        assert!(step(&mut scene, &[], 8, &limits).await.jobs.is_empty());
        let waiting = delayed(&mut scene).await;
        let [(head, _)] = &waiting[..] else { panic!("{} delayed", waiting.len()) };
        assert_eq!(Header::decode(head).unwrap().0.note("!key"), Some("a"));
        let _: u64 = scene.plain.zadd("{q}:sandhog:delayed", head, 5).await.unwrap();
    }
    assert_eq!(seen, [of("a", 1), of("a", 2), of("a", 3), of("a", 4)]);
}

#[tokio::test]
async fn a_retry_in_key_order_counts_towards_the_key_rate() {
    let mut scene = Scene::new().await;
    let limits = one_at_a_time();
    scene.begin(&[&["RPUSH", "q", &of("a", 1)]]).await;
    let job = step(&mut scene, &[], 8, &limits).await.jobs.remove(0);
    assert!(scene.settle(job.slot, &job.header, Fate::Retry { delay_ms: 0 }).await.unwrap());
    assert!(step(&mut scene, &[], 8, &limits).await.jobs.is_empty());
    let (head, due_ms) = delayed(&mut scene).await.remove(0);
    let wait_ms = due_ms as i64 - scene.now_ms().await;
    assert!((1..=100_000).contains(&wait_ms), "due in {wait_ms} ms");
    let _: u64 = scene.plain.zadd("{q}:sandhog:delayed", head, 5).await.unwrap();
    assert_eq!(step(&mut scene, &[], 8, &limits).await.jobs.len(), 1);
    assert!(delayed(&mut scene).await.is_empty());
}

#[tokio::test]
async fn jobs_that_start_in_one_millisecond_keep_their_order() {
    let mut scene = Scene::new().await;
    let limits = key("/tenant", None, Some(4000));
    scene.begin(&[]).await;
    // No burst is available.
    let full_at = (scene.now_ms().await + 2_000) * 1000;
    scene.send(&["SET", ":rate:a", &full_at.to_string()]).await;
    let jobs: Vec<String> = (0..40).map(|nth| of("a", nth)).collect();
    let _: u64 = scene.plain.rpush("q", &jobs).await.unwrap();
    // Their sequence numbers get one more digit on the way.
    scene.next_seq = 10_000_000_000_000 - 512 - 20;
    step(&mut scene, &[], 1, &limits).await;
    let waiting = delayed(&mut scene).await;
    assert!(waiting.len() > 30, "{} delayed", waiting.len());
    let waiting: Vec<&[u8]> = waiting.iter().map(|(record, _)| Header::decode(record).unwrap().1).collect();
    let expected: Vec<&[u8]> = jobs[40 - waiting.len()..].iter().map(String::as_bytes).collect();
    assert_eq!(waiting, expected);
}

#[tokio::test]
async fn a_bucket_in_the_future_counts_as_empty() {
    let mut scene = Scene::new().await;
    let ahead = |now_ms: i64| ((now_ms + 3_600_000) * 1000).to_string();
    let rate = Some(Rate { count: 5, per: SECOND });
    let limits = QueueLimits { rate, ..QueueLimits::default() };
    scene.begin(&[&["RPUSH", "q", "a", "b"]]).await;
    let now_ms = scene.now_ms().await;
    scene.send(&["SET", ":rate", &ahead(now_ms)]).await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    let wait_ms = reply.next_due_ms.unwrap() - reply.now_ms;
    assert!(reply.limited && (1..=201).contains(&wait_ms), "the next start in {wait_ms} ms");

    let limits = key("/tenant", None, Some(5));
    scene.begin(&[&["RPUSH", "q", &of("a", 1), &of("a", 2), &of("a", 3)]]).await;
    let now_ms = scene.now_ms().await;
    scene.send(&["SET", ":rate:a", &ahead(now_ms)]).await;
    let host = scene.host.clone();
    let reply = scene.store.turn(&Turn { claim: 8, limits: &limits, ..turn(&host, &[]) }).await.unwrap();
    assert!(reply.jobs.is_empty());
    let waits: Vec<i64> = delayed(&mut scene).await.iter().map(|(_, due)| *due as i64 - now_ms).collect();
    // 200 ms from each to the next.
    assert!(waits.len() == 3 && waits.iter().all(|wait| (100..60_000).contains(wait)), "{waits:?}");
}
