//! The process that compiles one component: started with bounds of its own, waited for, and ended if others go first.
//! What its end says about the component becomes the reason of a refusal.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal};

use super::CompileLimits;
use super::artefact::Artefact;
use super::child::{Bound, ExitCode, address_space};
use super::line::{QUICK, Turn};
use crate::sandbox::profile::Profile;

/// Wall clock of a compilation, as a multiple of the processor time it may take: guests may have the cores meanwhile.
const WALL_FACTOR: u32 = 10;
/// Threads of a compiler. Each costs it address space, and guests need the cores too.
const THREADS_MAX: usize = 4;
/// First and longest pause between two looks at a child that compiles.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// Longest reason taken from a compiler.
const REASON_BYTES_MAX: u64 = 4 * 1024;

/// What a compiler says that dies for want of memory: Rust's own words, and Cranelift's.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of ", "out of memory"];

/// Raise the bound, if it is too low for what is meant to run.
const MORE_MEMORY: &str = "to allow more, raise `compile.memory` in the host's settings";
const MORE_TIME: &str = "to allow more, raise `compile.time` in the host's settings";
/// The hint if the limit that the host inherited is lower than its own setting.
const MORE_INHERITED: &str = "the host was started with this limit: raise it (`ulimit -d`, `-v`, `-t`, `-f`)";

/// Why there is no compiled component: the end of a sentence that begins with its name.
pub(super) type Problem = (String, Option<&'static str>);

/// How compilers are started.
#[derive(Debug)]
pub(super) struct Process {
    /// This program, for its hidden subcommand `compile`.
    pub(super) program: PathBuf,
    pub(super) limits: CompileLimits,
    pub(super) profile: Profile,
}

/// What a compiler has left.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Artefact,
    /// The functions for the next version, if functions were to be kept and have changed.
    pub(super) functions: Option<Artefact>,
}

/// Whether functions are kept from one version to the next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packed<'a> {
    Not,
    /// With those of an earlier version, if there are any.
    With(Option<&'a Artefact>),
}

impl Process {
    /// Compiles in a child process; none if others go first.
    pub(super) fn compile(
        &self,
        bytes: &[u8],
        packed: Packed<'_>,
        turn: &Turn,
    ) -> Result<Option<Answer>, Problem> {
        let broken = |error: io::Error| (format!("cannot be compiled: no compiler: {error}"), None);
        let (mut answer, mut noise) = (memory_file().map_err(broken)?, memory_file().map_err(broken)?);
        let input = input(bytes, packed).map_err(broken)?;
        let length = matches!(packed, Packed::With(_)).then_some(bytes.len());
        let ended = match self.run(&input, length, &answer, &noise, turn).map_err(broken)? {
            End::Exited(status) => status,
            End::Postponed => return Ok(None),
            End::TookTooLong => {
                let wall_s = (self.limits.time * WALL_FACTOR).as_secs();
                return Err((format!("cannot be compiled: not done after {wall_s} s"), Some(MORE_TIME)));
            }
        };
        if ended.success() {
            let code = Artefact::of_child(answer).map_err(broken)?;
            let functions = length.and_then(|_| Artefact::of_child(input).ok());
            return Ok(Some(Answer { code, functions }));
        }
        let (answer, noise) = (text_of(&mut answer).map_err(broken)?, text_of(&mut noise).map_err(broken)?);
        Err(self.problem(ended, answer, &noise))
    }

    /// Runs the child until it ends, or until its turn ends. `length` is that of the component at the head of its input,
    /// if functions are to be kept.
    fn run(
        &self,
        input: &File,
        length: Option<usize>,
        answer: &File,
        noise: &File,
        turn: &Turn,
    ) -> io::Result<End> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        // Files instead of pipes: nobody has to read and write at the same time, and their size is bounded.
        let mut child = Command::new(&self.program)
            .arg("compile")
            .arg(std::process::id().to_string())
            .arg(self.limits.memory_bytes.to_string())
            .arg(whole_seconds(self.limits.time).to_string())
            .arg(self.profile.word())
            .args(length.map(|length| length.to_string()))
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(input.try_clone()?)
            .stdout(answer.try_clone()?)
            .stderr(noise.try_clone()?)
            .spawn()?;
        let ended = wait(&mut child, self.limits.time * WALL_FACTOR, turn);
        if !matches!(ended, Ok(End::Exited(_))) {
            child.kill()?;
            child.wait()?;
        }
        ended
    }

    /// What the end of a child without a result says about the component.
    fn problem(&self, ended: ExitStatus, answer: String, noise: &str) -> Problem {
        let memory_bytes = self.limits.memory_bytes;
        let hint =
            |bound: Bound, ours: &'static str| Some(if bound.is_inherited { MORE_INHERITED } else { ours });
        let memory = || {
            let data = Bound::of(Resource::Data, memory_bytes);
            let addresses = Bound::of(Resource::As, address_space(memory_bytes));
            let least = if addresses.is_inherited && addresses.most < data.most { addresses } else { data };
            let most = least.most >> 20;
            (format!("cannot be compiled: needs more than {most} MiB of memory"), hint(least, MORE_MEMORY))
        };
        let signal = ended.signal();
        match ended.code().and_then(|code| u8::try_from(code).ok()).map(ExitCode) {
            Some(ExitCode::REFUSED) => (format!("cannot be compiled: {answer}"), None),
            Some(ExitCode::OUT_OF_MEMORY) => memory(),
            _ if OUT_OF_MEMORY.iter().any(|words| noise.contains(words)) => memory(),
            _ if signal == Some(Signal::XCPU.as_raw()) => {
                let bound = Bound::of(Resource::Cpu, whole_seconds(self.limits.time));
                let most = bound.most;
                (
                    format!("cannot be compiled: needs more than {most} s of processor time"),
                    hint(bound, MORE_TIME),
                )
            }
            _ if signal == Some(Signal::XFSZ.as_raw()) => {
                let bound = Bound::of(Resource::Fsize, memory_bytes);
                let most = bound.most;
                (format!("cannot be compiled: its code has more than {most} bytes"), hint(bound, MORE_MEMORY))
            }
            _ if signal == Some(Signal::KILL.as_raw()) => {
                ("cannot be compiled: the compiler was killed (signal 9)".to_owned(), None)
            }
            _ => {
                let how = signal.map_or_else(|| ended.to_string(), |signal| format!("signal {signal}"));
                let noise = noise.trim().replace('\n', " ");
                let colon = if noise.is_empty() { "" } else { ": " };
                (format!("cannot be compiled: the compiler crashed ({how}){colon}{noise}"), None)
            }
        }
    }
}

/// What a compiler reads: the component, and the functions of an earlier version behind it.
fn input(bytes: &[u8], packed: Packed<'_>) -> io::Result<File> {
    let mut input = memory_file()?;
    input.write_all(bytes)?;
    if let Packed::With(Some(functions)) = packed {
        // With its seal, which is no function: its first length is longer than any pack.
        functions.copy(&mut input)?;
    }
    input.rewind()?;
    Ok(input)
}

/// A file that exists in memory only.
pub(super) fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("sandhog-compile", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// How the wait for a child ended.
enum End {
    Exited(ExitStatus),
    /// The child was stopped, because others go first, or because the result is no longer wanted.
    Postponed,
    TookTooLong,
}

/// Waits for the end of a child, but not for ever.
fn wait(child: &mut Child, most: Duration, turn: &Turn) -> io::Result<End> {
    let started = Instant::now();
    let (mut pause, longest) = LOOK_EVERY;
    let mut is_quick = true;
    while started.elapsed() < most {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        if turn.is_given_up() {
            return Ok(End::Postponed);
        }
        if is_quick && started.elapsed() >= QUICK {
            is_quick = false;
            if !turn.may_go_on() {
                return Ok(End::Postponed);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
    Ok(End::TookTooLong)
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn text_of(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(REASON_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
