//! Hosts that make a user for each plugin: when, under which name, and what becomes of it.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::process::HostProcess;
use crate::support::redis::TestRedis;

/// A worker that sets `seen` to the job's payload.
fn setter() -> Vec<u8> {
    worker(
        "(import \"sandhog:worker/kv@0.1.0\" \"set\" (func $set (param i32 i32 i32 i32 i32)))",
        "(data (i32.const 4096) \"seen\")",
        "(call $set (i32.const 4096) (i32.const 4) (local.get $payload) (local.get $length) (i32.const 1024))
         (if (i32.load8_u (i32.const 1024)) (then unreachable))
         i32.const 0",
    )
}

fn manifest(mode: &str, write: &str) -> String {
    format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nmax_attempts = 5\nbackoff = {{ base = \"10ms\" }}\n\
         [effects]\nmode = \"{mode}\"\n[grants]\nkv.write = [\"{write}\"]\n"
    )
}

async fn users(plain: &mut MultiplexedConnection) -> Vec<String> {
    let all: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(plain).await.unwrap();
    all.into_iter().filter(|name| name.starts_with("sandhog:")).collect()
}

async fn job_sets(plain: &mut MultiplexedConnection, value: &str) {
    let _: () = plain.rpush("jobs", value).await.unwrap();
    until("the job has set its key", async || {
        plain.get::<_, Option<String>>("seen").await.unwrap().as_deref() == Some(value)
    })
    .await;
}

#[tokio::test]
async fn users_come_with_plugins_and_grants_and_go_with_them() {
    for mode in ["immediate", "atomic"] {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let plugins = Plugins::new().with("thumbs", &setter(), &manifest(mode, "seen"));
        let mut settings = plugins.settings(&redis.url(), "h");
        settings.redis.per_plugin_users = true;
        let host = serve(settings).await;
        job_sets(&mut plain, "1").await;
        let first = users(&mut plain).await;
        assert!(
            first.len() == 1 && first[0].starts_with("sandhog:h.") && first[0].contains(":thumbs:"),
            "{first:?}"
        );
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut plain).await.unwrap();
        let is_guests = |line: &&str| {
            line.contains("name=sandhog-guests") && line.contains(&format!("user={}", first[0]))
        };
        assert_eq!(clients.lines().filter(is_guests).count(), 1, "{clients}");
        // Somebody deletes it: it is made again.
        let _: () = redis::cmd("ACL").arg("DELUSER").arg(&first[0]).query_async(&mut plain).await.unwrap();
        job_sets(&mut plain, "2").await;
        // Other grants are another user; that of the former ones goes.
        plugins.put("thumbs", &setter(), &manifest(mode, "se*"));
        host.reload().await.unwrap();
        job_sets(&mut plain, "3").await;
        until("the former user is gone", async || {
            let now = users(&mut plain).await;
            now.len() == 1 && now != first
        })
        .await;
        stop(host).await;
        assert_eq!(users(&mut plain).await, [""; 0]);
    }
}

#[tokio::test]
async fn redis_that_was_started_again_gets_them_anew() {
    for mode in ["immediate", "atomic"] {
        let mut redis = TestRedis::start_with(&["--appendonly", "yes"]);
        let plugins = Plugins::new().with("thumbs", &setter(), &manifest(mode, "seen"));
        let mut settings = plugins.settings(&redis.url(), "h");
        settings.redis.per_plugin_users = true;
        let host = serve(settings).await;
        job_sets(&mut redis.plain().await, "1").await;
        redis.kill();
        redis.restart();
        let mut plain = redis.plain().await;
        job_sets(&mut plain, "2").await;
        assert_eq!(users(&mut plain).await.len(), 1);
        stop(host).await;
    }
}

#[tokio::test]
async fn effects_that_the_user_may_not_make_are_not_committed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("thumbs", &setter(), &manifest("atomic", "seen"));
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.redis.per_plugin_users = true;
    let host = serve(settings).await;
    job_sets(&mut plain, "1").await;
    // As a mistake in the host would have it: its grants cover what the user may not.
    let name = users(&mut plain).await.remove(0);
    let _: () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg(&name)
        .arg("clearselectors")
        .query_async(&mut plain)
        .await
        .unwrap();
    let _: () = plain.rpush("jobs", "2").await.unwrap();
    until("the job is dead", async || count(&host, "jobs", |c| &c.buried) == 1).await;
    assert_eq!(plain.get::<_, String>("seen").await.unwrap(), "1");
    let dead: Vec<String> = plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
    assert!(
        dead[0].contains("plugin's%20own%20Redis%20user") || dead[0].contains("own Redis user"),
        "{dead:?}"
    );
    stop(host).await;
}

#[tokio::test]
async fn without_the_right_to_make_users_no_plugin_is_served() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("anna").arg(&["on", ">s3cret", "~*", "&*", "+@all", "-acl"]);
    let _: () = acl.query_async(&mut plain).await.unwrap();
    let plugins = Plugins::new().with("thumbs", &setter(), &manifest("atomic", "seen"));
    let mut settings = plugins.settings(&format!("{}?user=anna&pass=s3cret", redis.url()), "h");
    settings.redis.per_plugin_users = true;
    let options = sandhog::app::Options::new(settings, crate::support::guest::program());
    let Err(sandhog::app::StartError::Plugins(problems)) = sandhog::app::Host::start(options).await else {
        panic!("a host without the wall it was told to have has started");
    };
    let text = problems.to_string();
    assert!(text.contains("plugin `thumbs`: it cannot have the Redis user `sandhog:h."), "{text}");
    assert!(text.contains("NOPERM") && text.contains("`ACL SETUSER`"), "{text}");
}

#[tokio::test]
async fn users_of_a_killed_host_go_with_its_next_life() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("thumbs", &setter(), &manifest("atomic", "seen"));
    let settings = |write: &str| {
        plugins.put("thumbs", &setter(), &manifest("atomic", write));
        crate::support::process::SETTINGS.to_owned() + "[redis]\nper_plugin_users = true\n"
    };
    let first = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings("seen")).await;
    let left = users(&mut plain).await;
    assert_eq!(left.len(), 1);
    drop(first);
    assert_eq!(users(&mut plain).await, left, "it was killed");
    let _second = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings("see*")).await;
    until("the former life's user is gone", async || {
        let now = users(&mut plain).await;
        now.len() == 1 && now != left
    })
    .await;
}

#[tokio::test]
async fn pops_of_the_atomic_mode_are_asked_for_first() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let popper = worker(
        "(import \"sandhog:worker/queue@0.1.0\" \"pop\" (func $pop (param i32 i32 i32 i32)))",
        "(data (i32.const 4096) \"in\")",
        "(call $pop (i32.const 4096) (i32.const 2) (i32.const 0) (i32.const 1024))
         (if (i32.load8_u (i32.const 1024)) (then unreachable))
         i32.const 0",
    );
    let manifest = manifest("atomic", "seen") + "queue.pop = [\"in\"]\n";
    let plugins = Plugins::new().with("thumbs", &popper, &manifest);
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.redis.per_plugin_users = true;
    let host = serve(settings).await;
    let _: () = plain.rpush("in", vec!["a", "b"]).await.unwrap();
    let _: () = plain.rpush("jobs", "1").await.unwrap();
    until("the job is completed", async || count(&host, "jobs", |c| &c.completed) == 1).await;
    assert_eq!(plain.lrange::<_, Vec<String>>("in", 0, -1).await.unwrap(), ["b"]);
    let name = users(&mut plain).await.remove(0);
    let _: () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg(&name)
        .arg("clearselectors")
        .query_async(&mut plain)
        .await
        .unwrap();
    let _: () = plain.rpush("jobs", "2").await.unwrap();
    until("the job is dead", async || count(&host, "jobs", |c| &c.buried) == 1).await;
    assert_eq!(plain.lrange::<_, Vec<String>>("in", 0, -1).await.unwrap(), ["b"]);
    stop(host).await;
}
