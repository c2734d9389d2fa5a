//! The wall clock of a storm's server, which can be set wrong: a preloaded library adds the offset in a file
//! (`clock.c`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The clock of one server.
pub struct Clock {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Clock {
    /// A clock without offset.
    pub fn right() -> Self {
        let folder = tempfile::Builder::new().prefix("clock-").tempdir().unwrap();
        let file = folder.path().join("shift");
        std::fs::write(&file, 0_i64.to_le_bytes()).unwrap();
        Self { file, _folder: folder }
    }

    /// The environment of a server that uses this clock.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", library().to_owned()), ("STORM_CLOCK", self.file.clone())]
    }

    /// Sets the clock this many milliseconds ahead; behind if negative, right if zero.
    pub fn set(&self, ahead_ms: i64) {
        // Written in place: the server has the file mapped.
        let mut file = std::fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all(&(ahead_ms * 1000).to_le_bytes()).unwrap();
    }
}

/// The library, compiled once per run of the tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storm/clock.c");
        let ours = folder.join(format!("storm-clock.{}.so", std::process::id()));
        let mut command = Command::new("cc");
        command.args(["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&ours).arg(source);
        let output = command.output().expect("there is a C compiler: Rust links with it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Another run of the tests may do the same at this moment.
        let library = folder.join("storm-clock.so");
        std::fs::rename(ours, &library).unwrap();
        library
    })
}

#[tokio::test]
async fn only_the_clock_of_its_server_is_wrong() {
    use crate::support::{host::until, redis::TestRedis};
    let clock = Clock::right();
    let redis = TestRedis::start_in(&[], &clock.environment());
    let mut plain = redis.plain().await;
    for ahead_ms in [3_600_000, 0, -3_600_000, 0] {
        clock.set(ahead_ms);
        // Valkey does not read its clock before each command, so a command that follows closely still has the old time.
        until("the server shows the time that was set", async || {
            let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut plain).await.unwrap();
            let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let off = seconds - ours.as_secs().cast_signed();
            (off - ahead_ms / 1000).abs() < 600
        })
        .await;
    }
}
