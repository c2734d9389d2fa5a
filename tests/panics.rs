//! A panic of any thread or task ends the process of a host with an error, and the next start reclaims its jobs. The
//! processes that panic are this test binary, started again: the functions `child_…` are not tests themselves.

mod roles;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::AsyncCommands as _;
use sandhog::app::{Host, Options};
use sandhog::config::settings::{LogFormat, LogSettings, Overrides, Settings};
use sandhog::panics;
use sandhog::telemetry::{self, Reader};
use sandhog::worker::executor::Executor;
use sandhog::worker::lane::Observe;
use tokio::task::JoinSet;

use crate::support::example;
use crate::support::guest::program;
use crate::support::host::{Plugins, stop, until};
use crate::support::process::{HostProcess, hosts};
use crate::support::redis::TestRedis;

/// So long that jobs come back only because their host starts again, not because the lease ends.
const LEASE: Duration = Duration::from_secs(600);
const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nconcurrency = 2\ntimeout = \"60s\"\n\
    [effects]\nmode = \"immediate\"\n[grants]\nkv.read = [\"*\"]\nkv.write = [\"*\"]\n";

/// A job that waits for the key `gate`.
const WAITS: &str = "report none\nwait gate";

/// Runs `child` of this file as a separate process, with `input`, until it ends.
fn run(child: &str, input: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("panics::{child}"), "--ignored", "--nocapture"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

/// What `sandhog run` does first.
fn prepare() {
    let settings = LogSettings { format: LogFormat::Text, level: "info".to_owned() };
    telemetry::init(&settings, Reader::Operator).unwrap();
    panics::end_process(|_| telemetry::flush());
}

fn input() -> Vec<String> {
    std::io::read_to_string(std::io::stdin()).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of its own, for the tests below"]
async fn child_that_panics() {
    prepare();
    let executor = Executor::start(1).unwrap();
    let mut tasks = JoinSet::new();
    match input()[0].as_str() {
        "task" => drop(tasks.spawn(async { panic!("here") })),
        "thread" => drop(std::thread::spawn(|| panic!("here"))),
        "blocking task" => drop(executor.handle().spawn_blocking(|| panic!("here"))),
        "task of guests" => executor.handle().share("p", 1).spawn(async { panic!("here") }).detach(),
        "contained" => assert!(panics::contained("work", || panic!("here")).is_err()),
        other => unreachable!("{other}"),
    }
    // Reached only if the panic did not end the process; the exit code differs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    telemetry::flush();
    std::process::exit(7);
}

#[test]
fn a_panic_ends_the_process_whatever_thread_or_task_it_is_in() {
    for (kind, code) in
        [("task", 1), ("thread", 1), ("blocking task", 1), ("task of guests", 1), ("contained", 7)]
    {
        let output = run("child_that_panics", kind);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{kind}: {log}");
        let line = log.lines().find(|line| line.contains("ERROR")).unwrap_or_else(|| panic!("{kind}: {log}"));
        assert!(line.contains("panicked at tests/panics.rs:") && line.contains("\"here\""), "{line}");
    }
}

/// Panics when a run starts, or when Redis has accepted the end of one.
struct Panics {
    begin: bool,
}

impl Observe for Panics {
    fn started(&self, payload: &[u8]) {
        assert!(!(self.begin && payload.ends_with(b"panic")), "a run begins");
    }

    fn settled(&self, _: Instant) {
        assert!(self.begin, "a run is settled");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of its own, for the tests below"]
async fn child_with_a_host() {
    prepare();
    let input = input();
    let [url, folder, when] = &input[..] else { unreachable!("{input:?}") };
    let flags = Overrides {
        redis_url: Some(url.clone()),
        host_name: Some("h".to_owned()),
        state_dir: Some(format!("{folder}/.state").into()),
        plugins_dir: Some(folder.into()),
        ..Overrides::default()
    };
    let mut settings = Settings::resolve(&flags, None).unwrap();
    settings.host.lease = LEASE;
    settings.ceilings.instances = 16;
    let observer = Panics { begin: when == "begin" };
    let options = Options { observer: Some(Arc::new(observer)), ..Options::new(settings, program()) };
    Host::start(options).await.unwrap().ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_task_panics_ends_and_its_next_start_reclaims_its_jobs() {
    let plugins = Plugins::new().with("probe", &example::component("probe"), MANIFEST);
    // In a runner, on one of the guests' threads, and in a feeder, on the control thread.
    for (when, jobs) in
        [("begin", [WAITS, "report none\n# panic"]), ("settled", [WAITS, "report none\n# ends"])]
    {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let _: u64 = plain.rpush("jobs", &jobs).await.unwrap();
        let folder = plugins.path().display().to_string();
        let input = format!("{}\n{folder}\n{when}", redis.url());
        let output = tokio::task::spawn_blocking(move || run("child_with_a_host", &input)).await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains("ERROR") && log.contains("panicked at tests/panics.rs:"), "{log}");
        // The lease still exists, and the waiting job is in flight under it.
        assert_eq!(hosts(&mut plain, "h").await.len(), 1);
        let records: Vec<String> = plain.keys("{jobs}:sandhog:inflight:h.*").await.unwrap();
        assert_eq!(records.len(), 1, "{when}");

        let _: () = plain.set("gate", "open").await.unwrap();
        let mut host = HostProcess::start(&plugins, &redis.url(), "h", &mut plain).await;
        until("the jobs are done", async || {
            plain.hget::<_, _, Option<u64>>("{jobs}:sandhog:stats", "completed").await.unwrap() == Some(2)
        })
        .await;
        host.signal(rustix::process::Signal::TERM);
        assert!(host.ended().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_numbers_in_a_record_end_no_task() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let record = |id: &str, number: &str| {
        format!("1 {id} {number} {number} 18446744073709551615\nreport none\nkv.increment seen 1")
    };
    for (id, number) in [("a", "4294967295"), ("b", "4294967296"), ("c", "18446744073709551615")] {
        let _: u64 = plain.rpush("{jobs}:sandhog:ready", record(id, number)).await.unwrap();
    }
    let plugins = Plugins::new().with("probe", &example::component("probe"), MANIFEST);
    let host = plugins.serve(&redis.url(), "h").await;
    let _: u64 = plain.rpush("jobs", "report none\nkv.increment done 1").await.unwrap();
    // Numbers that are too large make no header; such a record is the payload as it is.
    until("both are done", async || {
        let done: Option<u64> = plain.get("done").await.unwrap();
        let seen: Option<u64> = plain.get("seen").await.unwrap();
        (done, seen.is_some()) == (Some(1), true)
    })
    .await;
    stop(host).await;
}
