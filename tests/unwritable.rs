//! A host whose log cannot be written or is not read: it runs all jobs and stops when told to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::guest::wasi_worker;
use crate::support::host::{PATIENCE, until};
use crate::support::process::SETTINGS;
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"talk\"\nmax_attempts = 1\n";
/// The default capacity of a pipe, in bytes.
const PIPE_BYTES: usize = 64 << 10;
/// Number and bytes of jobs that fill a pipe twice, but stay below a plugin's log quota.
const JOBS: usize = 200;
const JOB_BYTES: usize = 700;

/// Writes its payload to standard output. Text after the last line break is logged when the run has ended.
fn talker() -> Vec<u8> {
    wasi_worker(
        r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))"#,
        "",
        "(call $write (call $stdout) (local.get $payload) (local.get $length) (i32.const 100)) i32.const 0",
    )
}

struct Stage {
    _redis: TestRedis,
    plain: MultiplexedConnection,
    program: Program,
    ran: usize,
}

impl Stage {
    async fn new() -> Self {
        let redis = TestRedis::start();
        let (plain, program) = (redis.plain().await, Program::with(&redis));
        program.file("plugins/talker.wasm", talker());
        program.file("plugins/talker.toml", MANIFEST);
        Self { _redis: redis, plain, program, ran: 0 }
    }

    /// A host that logs to `stderr`.
    async fn start(&mut self, stderr: impl Into<Stdio>) -> Host {
        let settings = self.program.file("sandhog.toml", format!("{SETTINGS}[log]\nformat = \"json\"\n"));
        let settings = settings.display().to_string();
        self.launch(self.program.command(&["--config", &settings, "run"]), stderr).await
    }

    async fn launch(&mut self, mut command: Command, stderr: impl Into<Stdio>) -> Host {
        command.env("SANDHOG_STATE_DIR", self.program.folder().join("state")).stdout(Stdio::null());
        let mut host = Host(command.stderr(stderr).spawn().unwrap());
        // The command would keep its end of the pipe open.
        drop(command);
        until("the host has joined", async || {
            assert_eq!(host.0.try_wait().unwrap(), None, "the host has ended");
            self.plain.zcard::<_, usize>("sandhog:hosts").await.unwrap() == 1
        })
        .await;
        host
    }

    /// Runs jobs that each make the host log two lines.
    async fn run(&mut self, jobs: usize) {
        let payloads = vec![format!("{}\nrest", "x".repeat(JOB_BYTES)); jobs];
        let _: usize = self.plain.rpush("talk", payloads).await.unwrap();
        self.ran += jobs;
        until("all jobs have completed", async || {
            let done: Option<usize> = self.plain.hget("{talk}:sandhog:stats", "completed").await.unwrap();
            done == Some(self.ran)
        })
        .await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.program.folder().join(name)
    }
}

/// A process, killed when dropped.
struct Host(Child);

impl Host {
    /// Stops it with SIGTERM; answers its exit code.
    async fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let mut status = None;
        until("the host has stopped", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_host_keeps_serving_when_the_reader_of_its_log_ends() {
    let mut stage = Stage::new().await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut host = stage.start(writer).await;
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    stage.run(JOBS).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_host_keeps_serving_and_stops_while_nobody_reads_its_log() {
    let mut stage = Stage::new().await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut host = stage.start(writer).await;
    stage.run(JOBS).await;
    assert_eq!(host.stop().await, Some(0));
    let mut unread = Vec::new();
    reader.read_to_end(&mut unread).unwrap();
    assert!((PIPE_BYTES / 2..=PIPE_BYTES).contains(&unread.len()), "the pipe was full: {}", unread.len());
}

#[tokio::test]
async fn a_host_starts_and_serves_on_a_full_disk() {
    let mut stage = Stage::new().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut host = stage.start(full).await;
    stage.run(JOBS).await;
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_host_keeps_serving_when_its_log_file_has_reached_the_size_limit() {
    let mut stage = Stage::new().await;
    // The first host compiles the component, because the cached code may be larger than the limit.
    let mut first = stage.start(Stdio::null()).await;
    assert_eq!(first.stop().await, Some(0));
    let settings = stage.path("sandhog.toml").display().to_string();
    let mut command = stage.program.command(&[]);
    let program = command.get_program().to_owned();
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = Command::new("sh");
    command.current_dir(stage.program.folder()).env_clear();
    command.envs(environment.into_iter().filter_map(|(name, value)| Some((name, value?))));
    // 100 blocks of 512 bytes.
    command.arg("-c").arg("ulimit -f 100 && exec \"$@\"").arg("sh").arg(program);
    command.args(["--config", &settings, "run"]);
    let log = stage.path("log");
    let mut host = stage.launch(command, File::create(&log).unwrap()).await;
    stage.run(JOBS).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 51_200, "the log has reached its size limit");
}

#[tokio::test]
async fn lines_that_were_dropped_are_counted_for_the_next_reader() {
    let mut stage = Stage::new().await;
    let fifo = stage.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // A process that opens both ends of a FIFO does not block.
    let both = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut host = stage.start(OpenOptions::new().write(true).open(&fifo).unwrap()).await;
    drop(both);
    stage.run(20).await;
    // This open does not block: the host has the other end.
    let lines = BufReader::new(File::open(&fifo).unwrap()).lines();
    let (found, report) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().is_some_and(|message| message.contains("lines were dropped")) {
                let _ = found.try_send(line);
            }
        }
    });
    stage.run(1).await;
    let report = report.recv_timeout(PATIENCE).unwrap();
    assert!(report["lines"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["level"], "WARN");
    assert_eq!(host.stop().await, Some(0));
}
