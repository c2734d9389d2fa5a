//! The Redis of a storm: on disk, so that it can be killed, lose the end of its file, or be replaced by a replica
//! (`replica`); with its own clock.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult};
use tokio::task::JoinSet;

use super::clock::Clock;
use crate::support::faults::command_length;
use crate::support::redis::TestRedis;

/// How long Redis may be away before something is wrong with the test itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of its file that get lost at once.
const LOST_BYTES_MAX: u64 = 64 * 1024;
/// The storm's own user, because faults change the rights of the hosts' user.
const USER: &str = "storm";
/// Whatever is acknowledged was handed to the system before, so that a killed Redis has lost nothing: with `everysec`
/// it may keep back what it writes while a sync goes on. What a killed machine loses is a fault of its own.
const DURABLE: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "no", "--bind", "127.0.0.1"];
/// Rights and settings that the storm itself needs.
const OWN: [&str; 15] = [
    "--user",
    USER,
    "on",
    "nopass",
    "~*",
    "&*",
    "+@all",
    "--masteruser",
    USER,
    "--masterauth",
    "any",
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];

/// The present master, and our own connection to it.
pub struct Server {
    redis: TestRedis,
    clock: Clock,
    is_away: bool,
    plain: Option<MultiplexedConnection>,
    /// Commands whose answers nobody waits for.
    left_alone: JoinSet<()>,
    /// The append-only file and its length when `mark` was called: what is before this is never lost.
    pub(super) marked: (PathBuf, u64),
}

impl Server {
    /// Starts it.
    pub fn start() -> Self {
        let clock = Clock::right();
        let redis = TestRedis::start_in(&[&DURABLE[..], &OWN].concat(), &clock.environment());
        let marked = (PathBuf::new(), 0);
        let mut server =
            Self { redis, clock, is_away: false, plain: None, left_alone: JoinSet::new(), marked };
        server.mark();
        server
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.redis.socket()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.redis.log()
    }

    /// Asks once. If the connection breaks nobody knows whether it was done.
    pub async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        let mut plain = self.plain().await?;
        let answer = command.query_async(&mut plain).await;
        self.note(&answer);
        answer
    }

    /// The same for a transaction.
    pub async fn transact(&mut self, pipe: &mut redis::Pipeline) -> RedisResult<redis::Value> {
        let mut plain = self.plain().await?;
        let answer = pipe.atomic().query_async(&mut plain).await;
        self.note(&answer);
        answer
    }

    /// Asks until there is an answer: for what may be done twice.
    pub async fn surely<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        let begun = Instant::now();
        loop {
            match self.ask(command).await {
                Ok(answer) => return answer,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "Redis does not come back: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Our own connection.
    pub async fn plain(&mut self) -> RedisResult<MultiplexedConnection> {
        if self.plain.is_none() {
            self.plain = Some(self.connect().await?);
        }
        Ok(self.plain.clone().expect("it was opened just now"))
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(format!("{}?user={USER}&pass=any", self.redis.url()))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Sends it on a separate connection without waiting for the answer: for commands that stall the server.
    pub async fn leave_alone(&mut self, command: &Cmd) -> RedisResult<()> {
        let mut other = self.connect().await?;
        let command = command.clone();
        while self.left_alone.try_join_next().is_some() {}
        self.left_alone.spawn(async move {
            let _: RedisResult<redis::Value> = command.query_async(&mut other).await;
        });
        Ok(())
    }

    fn note<T>(&mut self, answer: &RedisResult<T>) {
        if answer.as_ref().is_err_and(|error| error.is_io_error() || error.is_connection_dropped()) {
            self.plain = None;
        }
    }

    /// Kills it, and starts it again on what it left on disk.
    pub fn crash(&mut self, away: Duration) {
        self.take_away();
        std::thread::sleep(away);
        self.come_back();
    }

    /// Kills it.
    pub fn take_away(&mut self) {
        self.redis.kill();
        self.plain = None;
        self.is_away = true;
    }

    /// Restarts it from its files, if it is away.
    pub fn come_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            self.redis.restart();
        }
    }

    /// Whether it was killed and has not been restarted.
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// Sets its clock so many milliseconds ahead, or behind if they are negative.
    pub fn set_clock(&self, ahead_ms: i64) {
        self.clock.set(ahead_ms);
    }

    /// From now on nothing that is in the append-only file gets lost.
    pub fn mark(&mut self) {
        let file = self.file();
        let length = file.metadata().map_or(0, |found| found.len());
        self.marked = (file, length);
    }

    /// Kills it and cuts off the end of its file, as a crash of the machine does; `part` tells how much of what
    /// could be lost. Answers the number of bytes.
    ///
    /// Never within a transaction: Redis leaves the beginning of one in the file then, new commands follow it, and
    /// after the next restart they are carried out together (valkey-io/valkey#4342 mends it). No host can help that.
    pub fn lose_tail(&mut self, part: f64) -> u64 {
        self.take_away();
        let file = self.file();
        let length = file.metadata().unwrap().len();
        let safe = if self.marked.0 == file { self.marked.1 } else { 0 };
        let wanted = length - (length.saturating_sub(safe).min(LOST_BYTES_MAX) as f64 * part) as u64;
        let all = std::fs::read(&file).unwrap();
        let kept = (between_transactions(&all, wanted as usize) as u64).max(safe.min(length));
        let lost = length - kept;
        // For whoever looks into what went wrong.
        std::fs::write(file.with_extension(format!("lost-at-{kept}")), &all[kept as usize..]).unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - lost).unwrap();
        self.come_back();
        lost
    }

    /// Copies what it has on disk, which tells all that was done since it became the master.
    pub fn copy_to(&self, folder: &Path) {
        std::fs::create_dir(folder).unwrap();
        let files = self.file().parent().and_then(|files| std::fs::read_dir(files).ok());
        for file in files.into_iter().flatten().flatten() {
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
    }

    /// The file it appends to.
    fn file(&self) -> PathBuf {
        let folder = self.redis.socket().parent().unwrap_or(Path::new("/")).join("appendonlydir");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
        // appendonly.aof.<n>.incr.aof
        let number = |path: &PathBuf| -> u64 {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.split('.').nth(2).and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        files.max_by_key(number).unwrap_or_default()
    }
}

/// The last place, at `limit` or before, where a file of commands can end without leaving a transaction open.
fn between_transactions(file: &[u8], limit: usize) -> usize {
    let (mut at, mut place, mut open) = (0, 0, false);
    while let Some(length) = command_length(&file[at..])
        && at + length <= limit
    {
        let command = &file[at..at + length];
        let is = |name: &str| {
            command.to_ascii_uppercase() == format!("*1\r\n${}\r\n{name}\r\n", name.len()).as_bytes()
        };
        open = is("MULTI") || open && !is("EXEC");
        at += length;
        if !open {
            place = at;
        }
    }
    place
}

#[test]
fn a_file_ends_between_transactions() {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let file = format!("{set}*1\r\n$5\r\nMULTI\r\n{set}*1\r\n$4\r\nEXEC\r\n{set}");
    let end = file.len() - set.len();
    for limit in 0..=file.len() {
        let places = [file.len(), end, set.len(), 0];
        let expected = places.into_iter().find(|place| *place <= limit);
        assert_eq!(Some(between_transactions(file.as_bytes(), limit)), expected, "{limit}");
    }
}
