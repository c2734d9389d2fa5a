//! The anomaly loop: the same scenario with the connection cut at the first command, then the second, and so on
//! until it runs untouched; once with the command lost, once with its answer lost.

use std::time::Duration;

use redis::AsyncCommands;
use sandhog::app::{Host, Options};

use crate::support::faults::{Cut, Proxy};
use crate::support::guest::program;
use crate::support::host::{Plugins, stop, until};
use crate::support::receipts::{self, push, settled};
use crate::support::redis::TestRedis;

/// Jobs of one scenario: enough for several claims and ends on the way.
const JOBS: usize = 12;
/// More commands than a host has said when it claims for the first time.
const FIRST_WORDS: u64 = 40;
/// More commands than the scenario has: it must run untouched long before.
const COMMANDS_MAX: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_before_any_command_loses_nothing() {
    cut_everywhere(Cut::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_lost_after_any_command_loses_nothing() {
    cut_everywhere(Cut::After).await;
}

/// Whoever takes back the jobs of a host that died looks where the host told.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_told_of_a_queue_before_it_claims_wherever_its_first_words_are_cut() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("receipts", &receipts::component(), receipts::MANIFEST);
    for at in 1..FIRST_WORDS {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let proxy = Proxy::start(&redis.socket(), at, Cut::Before);
        push(&mut plain, JOBS).await;
        let options = Options::new(plugins.settings(&proxy.url(), "h"), program());
        let host = match Host::start(options.clone()).await {
            Ok(host) => host,
            Err(error) => {
                let joined: usize = plain.zcard("sandhog:hosts").await.unwrap();
                assert_eq!(joined, 0, "cut at {at}: it had joined, and gave up: {error}");
                Host::start(options).await.unwrap()
            }
        };
        until("jobs are claimed", async || plain.exists("{jobs}:sandhog:stats").await.unwrap()).await;
        let id: String = plain.zrange::<_, Vec<String>>("sandhog:hosts", -1, -1).await.unwrap().remove(0);
        let told: String = plain.hget(format!("sandhog:host:{id}"), "queues").await.unwrap();
        assert_eq!(told, "[\"jobs\"]", "cut at {at}");
        stop(host).await;
    }
}

async fn cut_everywhere(cut: Cut) {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("receipts", &receipts::component(), receipts::MANIFEST);
    for at in 1..COMMANDS_MAX {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let proxy = Proxy::start(&redis.socket(), at, cut);
        let mut settings = plugins.settings(&proxy.url(), "h");
        settings.host.threads = 1;
        settings.ceilings.instances = 16;
        settings.redis.timeout = Duration::from_secs(5);
        let options = Options::new(settings, program());
        let jobs = push(&mut plain, JOBS).await;
        let host = match Host::start(options.clone()).await {
            Ok(host) => host,
            // A cut in the first words of a host is a refusal to start; the next start finds everything there.
            Err(_) => Host::start(options).await.unwrap(),
        };
        let again = settled(&mut plain, &jobs).await;
        assert_eq!(again, 0, "{cut:?} at {at}: receipts that are there twice");
        stop(host).await;
        let hosts: u64 = plain.zcard("sandhog:hosts").await.unwrap();
        if !proxy.has_cut() {
            assert_eq!(hosts, 0, "untouched, the host says goodbye");
            assert!(at > 20, "the scenario has more than {at} commands");
            return;
        }
    }
    panic!("the scenario did not end untouched within {COMMANDS_MAX} commands");
}
