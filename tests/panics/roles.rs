//! Each task and thread of a host panics once, in a real host: the log line has its name, and the process ends, or, if the
//! work is contained, continues. The subscriber of log lines panics at the first line that each task logs, so the
//! tested host is unmodified. `tidy` fails if a task is missing in these lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use redis::AsyncCommands as _;
use sandhog::app::{Host, Options};
use sandhog::config::settings::{LogFormat, LogSettings, Overrides, Settings};
use sandhog::telemetry::{self, Reader};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{input, panics, run};
use crate::config_reader::guests;
use crate::sandbox::profile::grower;
use crate::support::example;
use crate::support::guest::{self, load, program};
use crate::support::host::{PATIENCE, Plugins, until};
use crate::support::redis::TestRedis;

/// Tasks whose panic ends the process.
const END: [&str; 22] = [
    "config-reader",
    "control",
    "epoch",
    "feeder",
    "foresight",
    "guests",
    "healer",
    "holds",
    "late",
    "lease",
    "loader",
    "log",
    "poll",
    "primary",
    "reaper",
    "runner",
    "scheduler",
    "search",
    "sweep",
    "trial",
    "users",
    "watch",
];
/// Tasks whose panic is an error of the plugin or file that they process.
const CONTINUE: [&str; 5] = ["load", "profile", "read", "settings-trial", "start"];

/// The target of the first line of each task, and of the line about its panic.
const TARGET: &str = "sandhog::panics";
const JOB: &str = "report none\nkv.get probe:a\nkv.get probe:b";
const WORKER: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n[grants]\nkv.read = [\"probe:*\"]\n";
const READER: &str = "kind = \"config-reader\"\n[grants]\nkv.read = [\"config:*\"]\n";

/// Panics when `task` starts for the first time.
struct PanicIn {
    task: String,
    has_panicked: AtomicBool,
    /// The line about the panic has been logged.
    is_logged: Arc<AtomicBool>,
}

#[derive(Default)]
struct Task(Option<String>);

impl Visit for Task {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "task" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber> Layer<S> for PanicIn {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if about.target() != TARGET {
            return;
        }
        if *about.level() == Level::ERROR {
            self.is_logged.store(true, SeqCst);
            return;
        }
        let mut task = Task::default();
        event.record(&mut task);
        let is_it = task.0.as_deref() == Some(self.task.as_str());
        assert!(!is_it || self.has_panicked.swap(true, SeqCst), "on purpose");
    }
}

/// Starts the log like `sandhog run`, except that each task writes its own lines. The thread that writes the log also
/// starts, and ends, because it gets no lines.
fn prepare(task: &str) -> Arc<AtomicBool> {
    let is_logged = Arc::new(AtomicBool::new(false));
    let panics_in =
        PanicIn { task: task.to_owned(), has_panicked: false.into(), is_logged: is_logged.clone() };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let filter = EnvFilter::new(format!("info,{TARGET}=trace"));
    // Last: a line is written before this layer sees it.
    tracing_subscriber::registry().with(filter).with(lines).with(panics_in).try_init().unwrap();
    panics::end_process(|_| ());
    let settings = LogSettings { format: LogFormat::Text, level: "info".to_owned() };
    assert!(telemetry::init(&settings, Reader::Operator).is_err(), "the log is set up already");
    is_logged
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of its own, for the test below"]
async fn child_with_every_task() {
    let input = input();
    let [url, folder, task] = &input[..] else { unreachable!("{input:?}") };
    let is_logged = prepare(task);
    if ["profile", "trial"].contains(&task.as_str()) {
        // As runs of a host do, but nothing else needs the processor meanwhile: only short runs are worth a trial.
        let version = load(&grower());
        until("the task has panicked", async || {
            guest::run(&version).await;
            is_logged.load(SeqCst)
        })
        .await;
    } else {
        panic_in_a_host(url, folder, &is_logged).await;
    }
    if CONTINUE.contains(&task.as_str()) {
        std::process::exit(7);
    }
    // The process ends meanwhile.
    tokio::time::sleep(PATIENCE).await;
}

/// Runs a host that does everything at least once, until the line about the panic has been logged.
async fn panic_in_a_host(url: &str, folder: &str, is_logged: &AtomicBool) {
    let flags = Overrides {
        redis_url: Some(url.to_owned()),
        host_name: Some("h".to_owned()),
        state_dir: Some(format!("{folder}/.state").into()),
        plugins_dir: Some(folder.into()),
        ..Overrides::default()
    };
    let mut settings = Settings::resolve(&flags, None).unwrap();
    settings.redis.per_plugin_users = true;
    settings.ceilings.instances = 16;
    let host = Host::start(Options::new(settings, program())).await;
    // Another version of the config reader is tried before it replaces the one that works.
    std::fs::write(format!("{folder}/site.wasm"), guests::listing()).unwrap();
    if let Ok(host) = &host {
        let _ = host.reload().await;
    }
    let client = redis::Client::open(url).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    until("the task has panicked", async || {
        let _: u64 = plain.rpush("jobs", JOB).await.unwrap();
        is_logged.load(SeqCst)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_that_panics_is_named_and_ends_the_host_unless_its_work_is_contained() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("probe", &example::component("probe"), WORKER);
    for task in END.into_iter().chain(CONTINUE) {
        plugins.put("site", &guests::title(), READER);
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let _: () = plain.set("config:title", "hello").await.unwrap();
        let input = format!("{}\n{}\n{task}", redis.url(), plugins.path().display());
        let ended = tokio::task::spawn_blocking(move || run("roles::child_with_every_task", &input));
        let output = ended.await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        let (code, means) = match END.contains(&task) {
            true => (1, "the process ends"),
            false => (7, "only this piece of work failed"),
        };
        assert_eq!(output.status.code(), Some(code), "{task}: {log}");
        let what = format!("the task `{task}` panicked at tests/panics/roles.rs:");
        // The thread that writes the log writes its own line directly.
        let is_its = |line: &&str| line.contains(&what) && (task != "log" || line.starts_with("sandhog: "));
        let line = log.lines().find(is_its).unwrap_or_else(|| panic!("{task}: {log}"));
        assert!(line.contains("\"on purpose\"") && line.contains(means), "{line}");
    }
}
