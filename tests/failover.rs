//! Which server a host is connected to, and what happens to jobs while Redis does not serve: failovers that leave
//! connections open, idle connections that were closed, servers that are stalled.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use sandhog::storage::primary::Primary;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::example;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::redis::TestRedis;

/// `max_attempts = 1`: any attempt charged to a job buries it.
const GREETER: &str = r#"
kind = "worker"
[[consume]]
queue = "names"
concurrency = 8
max_attempts = 1
[grants]
kv.write = ["greeted:*"]
queue.push = ["greetings"]
"#;

const PROBE: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
max_attempts = 1
[grants]
kv = { read = ["*"], write = ["*"] }
queue.push = ["*"]
"#;

/// A name that leads to one of two servers; the second is a replica of the first. Open connections stay at the server
/// they were opened to, as behind most load balancers.
struct Pair {
    first: TestRedis,
    second: TestRedis,
    first_port: u16,
    second_port: u16,
    name: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let start = || TestRedis::start_with(&["--repl-diskless-sync-delay", "0"]);
        let (first, second) = (start(), start());
        let first_port = listen(&mut first.plain().await).await;
        let second_port = listen(&mut second.plain().await).await;
        let name = tempfile::Builder::new().prefix("name-").tempdir().unwrap();
        let pair = Self { first, second, first_port, second_port, name };
        pair.lead_to(&pair.first);
        follow(&mut pair.second.plain().await, pair.first_port).await;
        pair
    }

    fn socket(&self) -> PathBuf {
        self.name.path().join("redis.sock")
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Makes new connections lead to this server.
    fn lead_to(&self, server: &TestRedis) {
        let _ = std::fs::remove_file(self.socket());
        symlink(server.socket(), self.socket()).unwrap();
    }

    /// Makes the second server the primary, and the first its replica.
    async fn fail_over(&self) {
        let mut second = self.second.plain().await;
        let _: () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut second).await.unwrap();
        self.lead_to(&self.second);
        follow(&mut self.first.plain().await, self.second_port).await;
    }
}

/// Makes a server listen on a free port, so that a replica can connect.
async fn listen(server: &mut MultiplexedConnection) -> u16 {
    loop {
        let port = fastrand::u16(20_000..60_000);
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("port").arg(port);
        if set.query_async::<()>(server).await.is_ok() {
            return port;
        }
    }
}

async fn follow(replica: &mut MultiplexedConnection, port: u16) {
    let _: () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query_async(replica).await.unwrap();
    until("the replica has what its primary has", async || {
        let info: String = redis::cmd("INFO").arg("replication").query_async(replica).await.unwrap();
        info.contains("master_link_status:up")
    })
    .await;
}

/// The numbers and names of a host's connections to a server.
async fn connections(plain: &mut MultiplexedConnection) -> Vec<(u64, String)> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(plain).await.unwrap();
    let field = |line: &str, name: &str| {
        line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    let all = list.lines().map(|line| (field(line, "id=").parse().unwrap(), field(line, "name=")));
    all.filter(|(_, name)| name.starts_with("sandhog-")).collect()
}

/// Closes the connections with these names at the server.
async fn close(plain: &mut MultiplexedConnection, names: &[&str]) {
    for (number, name) in connections(plain).await {
        if names.contains(&name.as_str()) {
            let _: () =
                redis::cmd("CLIENT").arg("KILL").arg("ID").arg(number).query_async(plain).await.unwrap();
        }
    }
}

async fn host(plugins: &Plugins, url: &str, redis_timeout: Duration) -> Host {
    let mut settings = plugins.settings(url, "h");
    settings.redis.timeout = redis_timeout;
    // Long enough that the lease does not end during a test.
    settings.host.lease = Duration::from_secs(30);
    serve(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_that_leaves_connections_open_the_host_moves_to_the_new_primary() {
    let pair = Pair::start().await;
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), GREETER);
    let host = host(&plugins, &pair.url(), Duration::from_secs(5)).await;
    let mut first = pair.first.plain().await;
    let _: u64 = first.rpush("names", "ada").await.unwrap();
    until("a job is done at the first server", async || count(&host, "names", |c| &c.completed) == 1).await;
    let mut second = pair.second.plain().await;
    until("the replica has what it did", async || second.llen::<_, u64>("greetings").await.unwrap() == 1)
        .await;
    pair.fail_over().await;
    let _: u64 = second.rpush("names", &["bob", "cyd", "dan"]).await.unwrap();
    until("jobs are done at the new primary", async || count(&host, "names", |c| &c.completed) == 4).await;
    let greetings: Vec<String> = second.lrange("greetings", 0, -1).await.unwrap();
    assert_eq!(greetings.len(), 4, "{greetings:?}");
    until("no connection is left at the old one", async || connections(&mut first).await.is_empty()).await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_new_primary_never_reads_from_the_old_one() {
    let pair = Pair::start().await;
    let (mut first, mut second) = (pair.first.plain().await, pair.second.plain().await);
    let plugins = Plugins::new().with("probe", &example::component("probe"), PROBE);
    let host = host(&plugins, &pair.url(), Duration::from_secs(5)).await;
    let _: () = first.set("x", "old").await.unwrap();
    let read = "report queue seen\nkv.get x";
    let _: u64 = first.rpush("jobs", read).await.unwrap();
    // By then guests have a connection.
    until("the replica has what the job did", async || second.llen::<_, u64>("seen").await.unwrap() == 1)
        .await;
    // The first server does not learn that it is no longer the primary, so it refuses nothing.
    let _: () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut second).await.unwrap();
    let _: () = second.set("x", "new").await.unwrap();
    pair.lead_to(&pair.second);
    close(&mut first, &["sandhog-claims", "sandhog-commits", "sandhog-lease"]).await;
    let _: () = redis::cmd("DEL").arg("seen").query_async(&mut second).await.unwrap();
    let _: u64 = second.rpush("jobs", vec![read; 5]).await.unwrap();
    until("jobs are done at the new primary", async || second.llen::<_, u64>("seen").await.unwrap() == 5)
        .await;
    let seen: Vec<String> = second.lrange("seen", 0, -1).await.unwrap();
    assert_eq!(seen, vec!["kv.get: ok some \"new\""; 5]);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_notices_that_its_server_was_demoted() {
    let pair = Pair::start().await;
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), GREETER);
    let mut settings = plugins.settings(&pair.url(), "h");
    // No writes reveal the demotion: no lease renewal, no jobs.
    (settings.host.lease, settings.host.reap_every) = (Duration::from_secs(600), Duration::from_secs(600));
    let host = serve(settings).await;
    pair.fail_over().await;
    let (mut first, mut second) = (pair.first.plain().await, pair.second.plain().await);
    until("it is connected to the new primary", async || {
        let is_claims = |(_, name): &(u64, String)| name == "sandhog-claims";
        connections(&mut second).await.iter().any(is_claims)
    })
    .await;
    until("no connection is left at the old one", async || connections(&mut first).await.is_empty()).await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_connect_to_a_replica() {
    let pair = Pair::start().await;
    let connect = async |server: &TestRedis| {
        let primary = Primary::at(&server.address(), Duration::from_secs(5));
        primary.link("test", Tracking::Off).unwrap().connect().await
    };
    connect(&pair.first).await.unwrap();
    let refused = connect(&pair.second).await.unwrap_err().to_string();
    assert!(refused.contains("it is a replica, and a host needs the primary"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_host_whose_idle_connections_were_closed_fails_no_job() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), GREETER);
    let host = host(&plugins, &redis.url(), Duration::from_secs(5)).await;
    for done in 1..=10 {
        let _: u64 = plain.rpush("names", "ada").await.unwrap();
        until("the job is done", async || count(&host, "names", |c| &c.completed) == done).await;
        // `timeout` in redis.conf and load balancers do this after minutes.
        close(&mut plain, &["sandhog-guests", "sandhog-commits"]).await;
    }
    assert_eq!(plain.zcard::<_, u64>("{names}:sandhog:dead").await.unwrap(), 0);
    assert_eq!(count(&host, "names", |c| &c.retried), 0, "no attempt was lost");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_is_replaced_before_a_call_not_after() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let immediate = format!("{GREETER}[effects]\nmode = \"immediate\"\n");
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), &immediate);
    let host = host(&plugins, &redis.url(), Duration::from_secs(5)).await;
    for done in 1..=10 {
        let _: u64 = plain.rpush("names", "ada").await.unwrap();
        until("the job is done", async || count(&host, "names", |c| &c.completed) == done).await;
        close(&mut plain, &["sandhog-guests"]).await;
    }
    // A write is not sent twice, so it fails if its connection turns out to be closed. On a busy machine a job may
    // start before the host has noticed that.
    let failed = count(&host, "names", |c| &c.outages);
    assert!(failed < 5, "{failed} of 9 jobs met a closed connection");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_connection_is_lost_is_sent_once_more_and_a_write_is_not() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let link = redis.link();
    // Like a read that Redis has not answered yet.
    let mut wait = redis::cmd("BLPOP");
    wait.arg("list").arg(60);
    let (reader, read) = (link.clone(), wait.clone());
    let mut calls = JoinSet::new();
    calls.spawn(async move { reader.ask::<(String, String)>(&read).await });
    blocked(&mut plain, 1).await;
    close(&mut plain, &["sandhog-test"]).await;
    blocked(&mut plain, 1).await;
    let _: u64 = plain.rpush("list", "entry").await.unwrap();
    assert_eq!(answer(&mut calls).await.unwrap().1, "entry");
    calls.spawn(async move { link.query::<(String, String)>(&wait).await });
    blocked(&mut plain, 1).await;
    close(&mut plain, &["sandhog-test"]).await;
    assert!(answer(&mut calls).await.unwrap_err().is_lost());
    blocked(&mut plain, 0).await;
}

async fn answer<T: 'static>(calls: &mut JoinSet<T>) -> T {
    calls.join_next().await.unwrap().unwrap()
}

/// Waits until this many clients are blocked.
async fn blocked(plain: &mut MultiplexedConnection, wanted: u64) {
    until("clients wait", async || {
        let info: String = redis::cmd("INFO").arg("clients").query_async(plain).await.unwrap();
        info.lines().any(|line| line == format!("blocked_clients:{wanted}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_ran_while_redis_was_stalled_keep_their_attempts() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), GREETER);
    let host = host(&plugins, &redis.url(), Duration::from_millis(300)).await;
    let mut pushed = 0;
    until("runs waited for a stalled Redis", async || {
        let before = count(&host, "names", |c| &c.completed);
        let _: u64 = plain.rpush("names", vec!["ada"; 10_000]).await.unwrap();
        pushed += 10_000;
        until("jobs are running", async || count(&host, "names", |c| &c.completed) > before).await;
        let _: () = redis::cmd("CLIENT").arg("PAUSE").arg(900).query_async(&mut plain).await.unwrap();
        // Redis answers after the pause.
        let _: () = redis::cmd("PING").query_async(&mut plain).await.unwrap();
        count(&host, "names", |c| &c.outages) > 0
    })
    .await;
    until("every job is done", async || {
        plain.get::<_, Option<u64>>("greeted:ada").await.unwrap() == Some(pushed)
    })
    .await;
    assert_eq!(plain.zcard::<_, u64>("{names}:sandhog:dead").await.unwrap(), 0);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_led_to_a_replica_waits_for_the_primary() {
    let pair = Pair::start().await;
    let plugins = Plugins::new().with("greeter", &example::component("greeter"), GREETER);
    let host = host(&plugins, &pair.url(), Duration::from_secs(5)).await;
    let (mut first, mut second) = (pair.first.plain().await, pair.second.plain().await);
    pair.lead_to(&pair.second);
    let ours: Vec<String> = connections(&mut first).await.into_iter().map(|(_, name)| name).collect();
    close(&mut first, &ours.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _: u64 = first.rpush("names", "ada").await.unwrap();
    until("the host has asked the replica", async || {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut second).await.unwrap();
        let total = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        total.unwrap().trim().parse::<u64>().unwrap() > 5
    })
    .await;
    until("no connection to it is kept", async || connections(&mut second).await.is_empty()).await;
    pair.lead_to(&pair.first);
    until("the job is done", async || count(&host, "names", |c| &c.completed) == 1).await;
    stop(host).await;
}

/// How many times a server was asked to end a connection.
async fn kills(plain: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(plain).await.unwrap();
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_client|kill:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_comes_back_to_a_server_ends_its_former_connection_there() {
    let servers = [TestRedis::start(), TestRedis::start()];
    let mut plain = [servers[0].plain().await, servers[1].plain().await];
    let name = tempfile::Builder::new().prefix("name-").tempdir().unwrap();
    let socket = name.path().join("redis.sock");
    let url = format!("unix://{}", socket.display());
    let address = Address::parse(&url, TlsFiles::default()).unwrap();
    let link = Link::new(&address, "test", Duration::from_secs(30), Tracking::Off).unwrap();
    for (nth, expected) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let _ = std::fs::remove_file(&socket);
        symlink(servers[nth].socket(), &socket).unwrap();
        close(&mut plain[1 - nth], &["sandhog-test"]).await;
        // Only what the link sends counts.
        let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut plain[nth]).await.unwrap();
        until("the link leads to this server", async || {
            let answered = link.query::<String>(&redis::cmd("PING")).await.is_ok();
            answered && !connections(&mut plain[nth]).await.is_empty()
        })
        .await;
        assert_eq!(kills(&mut plain[nth]).await, expected, "server {nth}");
    }
}
