//! Results for any client; and `sandhog push --wait` while hosts and Redis die, and what it asks of Redis meanwhile.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;

use super::push;
use crate::support::example;
use crate::support::host::{Plugins, stop, until};
use crate::support::process::HostProcess;
use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;

const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "orders"
max_attempts = 1
timeout = "30s"
[grants]
kv = { read = ["*"], write = ["*"] }
[limits]
kv_calls = 10000000
"#;

fn probe() -> Plugins {
    Plugins::new().with("probe", &example::component("probe"), MANIFEST)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_client_asks_for_a_result_and_reads_it() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe();
    let host = plugins.serve(&redis.url(), "h").await;
    let script = sandhog::job::producer::scripts().remove(1);
    let result = async |plain: &mut MultiplexedConnection, id: &str| -> Vec<String> {
        let mut call = redis::cmd("EVAL_RO");
        call.arg(script.text).arg(1).arg("orders").arg(id).query_async(plain).await.unwrap()
    };
    assert_eq!(result(&mut plain, "mine").await, ["unknown"]);
    for (payload, expected) in [
        ("report none\nset-result 44\n", ["done", "44"]),
        ("report none\nset-result hex:0a", ["done", "\n"]),
        ("report none", ["done", ""]),
        ("report none\nset-result x\nbury declined", ["dead", "declined"]),
    ] {
        // The same name each time: the former result is gone with the push.
        push(&mut plain, &[payload, "result", "60000", "id", "mine"]).await.unwrap();
        until("its result is there", async || result(&mut plain, "mine").await == expected).await;
        let kept: i64 = plain.pttl("{orders}:sandhog:result:mine").await.unwrap();
        assert!((30_000..=60_000).contains(&kept), "{kept}");
    }
    stop(host).await;
    push(&mut plain, &["x", "result", "60000", "id", "mine"]).await.unwrap();
    assert_eq!(result(&mut plain, "mine").await, ["unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_job_of_others() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let unique = ["push", "orders", "x", "--unique", "k"];
    assert_eq!(program.output(&unique).status.code(), Some(0));
    let duplicate = program.output(&[&unique[..], &["--wait"]].concat());
    assert_eq!(duplicate.status.code(), Some(1), "{}", transcript(&unique, &duplicate));
    for wrong in [&["x", "--timeout", "1s"][..], &["--wait", "--file", "x"]] {
        let refused = program.output(&[&["push", "orders"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_hosts_and_redis_and_asks_once() {
    let mut redis = TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut plain = redis.plain().await;
    let program = Program::with(&redis);
    let plugins = probe();
    let running = async |plain: &mut MultiplexedConnection| {
        !plain.keys::<_, Vec<String>>("{orders}:sandhog:inflight:*").await.unwrap().is_empty()
    };
    let host = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    let script = "report none\nset-result yes\nwait gate";
    let mut waiting = program.start(&["push", "orders", script, "--wait", "--timeout", "60s"]);
    until("it runs", async || running(&mut plain).await).await;
    let calls = async |plain: &mut MultiplexedConnection| -> u64 {
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(plain).await.unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_blmove:"));
        line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    until("it waits", async || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut plain).await.unwrap();
        clients.contains("cmd=blmove")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(calls(&mut plain).await <= 1, "it asks again and again");
    host.signal(Signal::KILL);
    redis.kill();
    redis.restart();
    plain = redis.plain().await;
    let _other = HostProcess::start(&plugins, &redis.url(), "two", &mut plain).await;
    let () = plain.set("gate", 1).await.unwrap();
    let code = tokio::task::spawn_blocking(move || (waiting.wait(), waiting.stdout(), waiting.stderr()))
        .await
        .unwrap();
    assert_eq!((code.0, code.1.as_str()), (Some(0), "yes"), "{}", code.2);
}
