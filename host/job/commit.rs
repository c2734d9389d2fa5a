//! Ends completed jobs together with their effects: many jobs in one script call, each as a whole or not at all.
//! What the script is told of a job is put together in `encode`.

mod encode;

use std::fmt::{self, Write as _};

use redis::{Cmd, Value};

use self::encode::Encoded;
use super::change::Changes;
use super::name::HostId;
use super::reply::{Fields, unexpected};
use super::script;
use super::store::{JobStore, Slot, StoreError};
use crate::storage::fault::Fault;
use crate::storage::link::Link;
use crate::storage::script::Script;

/// Most jobs in one call, and about most bytes (a larger job goes alone), so that Redis serves others in between.
const CALL_JOBS_MAX: usize = 128;
const CALL_BYTES_MAX: usize = 1 << 20;
/// About most arguments in one call, and in calls that are sent at once, as for bytes: Redis carries out all that has
/// arrived before it turns to another connection. A job of a thousand pushes has a few thousand, which take it a millisecond.
const ARGS_MAX: usize = 4096;

/// The end of one run that completed.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Where the job's record is.
    pub slot: Slot,
    /// Those of further jobs that the same run has completed: all end together, or none does.
    pub others: &'a [Slot],
    /// The run's effects.
    pub changes: &'a Changes,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The effects are there, the job is gone.
    Done,
    /// The run no longer owned its job: nothing was applied.
    Late,
    /// Of several jobs these were no longer the run's: nothing was applied, the others are still in flight.
    Parted(Vec<Slot>),
    /// An assumption about this key does not hold: nothing was applied, the job is still in flight.
    Conflict(String),
    /// It can never be applied as it is: nothing was, the job is still in flight.
    Refused {
        /// The key it failed at.
        key: String,
        /// What is in the way.
        why: Why,
    },
    /// Redis is at its memory limit: nothing was applied, the job is still in flight.
    Full,
}

/// What is in the way of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The key holds another type.
    WrongType,
    /// The key holds no decimal integer.
    NotAnInteger,
    /// The sum would leave the range of 64 bits.
    OutOfRange,
    /// The Redis user of this host may not do it.
    Permission,
    /// The plugin's own Redis user may not do it, though the grants cover it.
    Forbidden,
}

impl fmt::Display for Why {
    /// Goes on after the name of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongType => "holds another type",
            Self::NotAnInteger => "holds no integer",
            Self::OutOfRange => "would leave the range of 64 bits",
            Self::Forbidden => "may not be touched by the plugin's own Redis user",
            Self::Permission => "may not be touched by the Redis user of this host",
        })
    }
}

impl JobStore {
    /// Commits these, over `link`, as one write; a later one sees the effects of an earlier one with effects of
    /// its kind. The answers stand in the same order. On an error some may have been applied all the same; sent
    /// again, those are `Late`.
    pub async fn commit(
        &self,
        link: &Link,
        host: &HostId,
        commits: &[Commit<'_>],
    ) -> Result<Vec<Verdict>, StoreError> {
        let keys = [self.keys.inflight(host), self.keys.stats.clone()];
        let prefix = self.keys.unique_prefix();
        let (mut calls, mut growing, mut freeing) = (Vec::new(), Open::default(), Open::default());
        for (index, commit) in commits.iter().enumerate() {
            let mut field = commit.slot.to_string();
            for other in commit.others {
                let _ = write!(field, " {other}");
            }
            let job = encode::job(Some(host), field, commit.changes);
            let open = if job.grows { &mut growing } else { &mut freeing };
            if !open.has_room(&job) {
                calls.extend(std::mem::take(open).close());
            }
            open.add(index, job, &keys, &prefix);
        }
        calls.extend(growing.close());
        calls.extend(freeing.close());
        send(link, calls, commits.len()).await
    }
}

/// Applies changes that belong to no job. What they took is not touched: it belongs to a host.
pub async fn apply(link: &Link, changes: &Changes) -> Result<Verdict, StoreError> {
    let mut open = Open::default();
    open.add(0, encode::job(None, String::new(), changes), &[], "");
    let verdicts = send(link, open.close().into_iter().collect(), 1).await?;
    Ok(verdicts.into_iter().next().unwrap_or(Verdict::Done))
}

/// A call to be made.
struct Call {
    script: &'static Script,
    cmd: Cmd,
    /// Which commits are in it, in its order.
    jobs: Vec<usize>,
    /// Its arguments.
    args: usize,
    /// Their bytes, and the work that is as much.
    bytes: usize,
}

/// A call that still takes jobs.
#[derive(Default)]
struct Open {
    call: Option<Call>,
}

impl Open {
    fn has_room(&self, job: &Encoded<'_>) -> bool {
        let Some(call) = &self.call else { return true };
        let (args, bytes) = (call.args + job.args.len(), call.bytes + bytes_of(job));
        call.jobs.len() < CALL_JOBS_MAX && bytes <= CALL_BYTES_MAX && args <= ARGS_MAX
    }

    fn add(&mut self, index: usize, job: Encoded<'_>, keys: &[String], prefix: &str) {
        let call = self.call.get_or_insert_with(|| {
            let script: &Script = if job.grows { &script::COMMIT } else { &script::COMMIT_FREEING };
            let mut cmd = script.call(keys);
            cmd.arg(prefix);
            Call { script, cmd, jobs: Vec::new(), args: 0, bytes: 0 }
        });
        for arg in &job.args {
            call.cmd.arg(&**arg);
        }
        call.jobs.push(index);
        call.args += job.args.len();
        call.bytes += bytes_of(&job);
    }

    fn close(self) -> Option<Call> {
        self.call
    }
}

/// What a job costs Redis: the bytes it is sent, and those it hashes.
fn bytes_of(job: &Encoded<'_>) -> usize {
    job.bytes.saturating_add(usize::try_from(job.work).unwrap_or(usize::MAX))
}

/// Makes all the calls, in their order; small ones as one write.
async fn send(link: &Link, calls: Vec<Call>, count: usize) -> Result<Vec<Verdict>, StoreError> {
    let mut verdicts = vec![Verdict::Done; count];
    let mut pending = calls;
    // The second round is for scripts the server had forgotten.
    for round in 0..2 {
        if pending.is_empty() {
            break;
        }
        let mut forgotten = Vec::new();
        while !pending.is_empty() {
            let some = at_once(&pending);
            let (mut pipe, mut called) = (redis::Pipeline::with_capacity(some), Vec::with_capacity(some));
            for call in pending.drain(..some) {
                let Call { script, cmd, jobs, args, bytes } = call;
                pipe.add_command(cmd);
                called.push((script, jobs, args, bytes));
            }
            let answers = link.pipeline(&pipe).await?;
            let called = called.into_iter().zip(answers).zip(pipe.cmd_iter());
            for (((script, jobs, args, bytes), answer), cmd) in called {
                match answer {
                    Err(fault) if round == 0 && fault.is_code("NOSCRIPT") => {
                        forgotten.push(Call { script, cmd: cmd.clone(), jobs, args, bytes });
                    }
                    answer => read(answer, &jobs, &mut verdicts)?,
                }
            }
        }
        for call in &forgotten {
            call.script.load(link).await?;
        }
        pending = forgotten;
    }
    Ok(verdicts)
}

/// How many of these calls are sent together.
fn at_once(calls: &[Call]) -> usize {
    let (mut args, mut bytes) = (0, 0_usize);
    let fits = |call: &&Call| {
        args += call.args;
        bytes = bytes.saturating_add(call.bytes);
        args <= ARGS_MAX && bytes <= CALL_BYTES_MAX
    };
    calls.iter().take_while(fits).count().max(1)
}

/// Notes what one call answered.
fn read(answer: Result<Value, Fault>, jobs: &[usize], verdicts: &mut [Verdict]) -> Result<(), StoreError> {
    let reply = match answer {
        Err(fault) if fault.is_code("OOM") => {
            jobs.iter().for_each(|index| verdicts[*index] = Verdict::Full);
            return Ok(());
        }
        answer => answer?,
    };
    let mut fields = Fields::new(reply)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    loop {
        let nth = match fields.next() {
            Value::Nil => return Ok(()),
            Value::Int(nth) => usize::try_from(nth).ok().and_then(|nth| jobs.get(nth)),
            other => return Err(unexpected(&other).into()),
        };
        let (word, key) = (fields.text()?, fields.text()?);
        let verdict =
            verdict(&word, key).ok_or_else(|| Fault::Unexpected(format!("`{word}` from a commit")))?;
        if let Some(index) = nth {
            verdicts[*index] = verdict;
        }
    }
}

fn verdict(word: &str, key: String) -> Option<Verdict> {
    let refused = |why| Some(Verdict::Refused { key: key.clone(), why });
    match word {
        "late" => Some(Verdict::Late),
        "parted" => Some(Verdict::Parted(key.split(' ').filter_map(|field| field.parse().ok()).collect())),
        "conflict" => Some(Verdict::Conflict(key)),
        "type" => refused(Why::WrongType),
        "integer" => refused(Why::NotAnInteger),
        "range" => refused(Why::OutOfRange),
        "permission" => refused(Why::Permission),
        _ => None,
    }
}
