//! A host under fire: the real program behind a proxy of its own, started again whenever it is gone, as a service
//! manager would.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::faults::{Cut, Proxy};

/// How long the lease of a host lasts: a sleep longer than this costs it its jobs.
pub const LEASE: Duration = Duration::from_millis(1500);
/// How long a host that was told to end may take: its time to drain, and some for a busy machine.
const END_MAX: Duration = Duration::from_secs(20);
/// Former lives whose logs are kept.
const LOGS_KEPT: usize = 6;
/// What a host says by its exit code when it refuses to start: with Redis away it does.
const REFUSED: i32 = 2;
/// How long after a refusal it is started again.
const REFUSED_WAIT: Duration = Duration::from_millis(50);

/// Short leases, patient with crashes.
const SETTINGS: &str = r#"
[host]
lease = "1500ms"
reap_every = "200ms"
drain = "5s"
threads = 2
crashes_max = 1000
[redis]
timeout = "2s"
[limits]
instances = 64
memory = "64MiB"
"#;

/// A place that a host has, and loses, again and again.
pub struct Seat {
    /// The name of the host.
    pub name: &'static str,
    folder: PathBuf,
    program: PathBuf,
    proxy: Proxy,
    child: Option<Child>,
    state: State,
    lives: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// Told to end.
    Draining(Instant),
    /// Stopped, to be continued.
    Asleep(Instant),
    /// Gone, to be started.
    Down(Instant),
}

impl Seat {
    /// A host to be started soon. The folder holds `plugins`, and takes settings, state and logs.
    pub fn new(name: &'static str, folder: &Path, program: &Path, server: &Path) -> Self {
        let proxy = Proxy::start(server, 0, Cut::Before);
        let plugins = folder.join("plugins");
        let state = folder.join("state");
        let settings = SETTINGS
            .replace(
                "[host]",
                &format!("[plugins]\ndir = {plugins:?}\n[host]\nname = \"{name}\"\nstate_dir = {state:?}"),
            )
            .replace("[redis]", &format!("[redis]\nurl = \"{}\"", proxy.url()));
        std::fs::write(folder.join(format!("{name}.toml")), settings).unwrap();
        let state = State::Down(Instant::now());
        Self { name, folder: folder.into(), program: program.into(), proxy, child: None, state, lives: 0 }
    }

    /// Its way to Redis.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The process that has it now.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs, and nothing is to be done about it.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Does what is due: starts it, wakes it, notices its end. An end that nobody asked for is a failure.
    pub fn tend(&mut self) -> Result<(), String> {
        let now = Instant::now();
        match self.state {
            State::Down(until) if until <= now => self.launch(),
            State::Asleep(until) if until <= now => {
                self.signal(Signal::CONT);
                self.state = State::Up;
            }
            State::Up | State::Draining(_) => return self.look(now),
            State::Down(_) | State::Asleep(_) => {}
        }
        Ok(())
    }

    fn look(&mut self, now: Instant) -> Result<(), String> {
        let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) else {
            return match self.state {
                State::Draining(since) if since.elapsed() > END_MAX => {
                    Err(format!("host {} does not end within {END_MAX:?}", self.name))
                }
                _ => Ok(()),
            };
        };
        // Before it has said its first word it does not listen to signals yet.
        let unheard = status.signal() == Some(Signal::TERM.as_raw()) && self.has_said_nothing();
        let expected = matches!(self.state, State::Draining(_)) && (status.success() || unheard);
        if !expected && status.code() != Some(REFUSED) {
            return Err(format!(
                "host {} ended by itself: {status}; see {}",
                self.name,
                self.log().display()
            ));
        }
        self.child = None;
        self.state = State::Down(if expected { now } else { now + REFUSED_WAIT });
        Ok(())
    }

    /// Ends it without a word, to be started again after `pause`; answers whether there was something to end.
    pub fn kill(&mut self, pause: Duration) -> bool {
        self.state = State::Down(Instant::now() + pause);
        let Some(mut child) = self.child.take() else { return false };
        child.kill().unwrap();
        child.wait().unwrap();
        true
    }

    /// Tells it to end.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.state = State::Draining(Instant::now());
    }

    /// Tells it to read its plugins again.
    pub fn reload(&self) {
        if !self.has_said_nothing() {
            self.signal(Signal::HUP);
        }
    }

    /// Stops it for a while.
    pub fn sleep(&mut self, long: Duration) {
        self.signal(Signal::STOP);
        self.state = State::Asleep(Instant::now() + long);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // It may have ended in this very moment; `tend` finds out.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    fn has_said_nothing(&self) -> bool {
        std::fs::metadata(self.log()).is_ok_and(|log| log.len() == 0)
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.{}.log", self.name, self.lives))
    }

    fn launch(&mut self) {
        self.lives += 1;
        if let Some(old) = self.lives.checked_sub(LOGS_KEPT) {
            let _ = std::fs::remove_file(self.folder.join(format!("{}.{old}.log", self.name)));
        }
        let log = std::fs::File::create(self.log()).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join(format!("{}.toml", self.name))).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        self.state = State::Up;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.kill(Duration::ZERO);
    }
}
