//! How runs end: every settlement proves first that the run still owns its job, by deleting its record.

use redis::{Cmd, Value};

use super::envelope::Header;
use super::name::HostId;
use super::reply::{number, text, unexpected};
use super::script;
use super::store::{Claimed, JobStore, Order, Slot, StoreError};
use crate::storage::fault::Fault;
use crate::storage::script::Script;

/// Settlements sent at once. Redis carries out all that has arrived before it turns to another connection, and the
/// claims of all queues travel on this one: hundreds of failures would hold them up for milliseconds.
const AT_ONCE: usize = 16;

/// The end of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Where the job's record is.
    pub slot: Slot,
    /// What is to be remembered of it: counters and notes as they are to be stored.
    pub header: Header,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Done.
    Complete,
    /// Thrown away on purpose.
    Discard,
    /// Runs again later.
    Retry {
        /// How much later, from Redis time on.
        delay_ms: u64,
    },
    /// Kept as dead.
    Bury,
    /// Ready again, to be the next one taken.
    Release,
    /// Never started: a bare payload goes back, as it was, to the end of the list it was taken from; an
    /// envelope to ready, to be the next one taken.
    GiveBack(Order),
}

impl JobStore {
    /// Settles each of these, a few with one write. The answers stand in the same order: whether the job was still
    /// ours; if not, nothing was done. Many released at once keep their order.
    pub async fn settle(
        &self,
        host: &HostId,
        settlements: &[Settlement],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let inflight = self.keys.inflight(host);
        let calls: Vec<_> = settlements.iter().map(|s| self.settlement(&inflight, s)).collect();
        let mut answers: Vec<Option<Result<bool, StoreError>>> = vec![None; calls.len()];
        let mut pending = sending_order(settlements);
        // The second round is for scripts the server had forgotten.
        for _ in 0..2 {
            if pending.is_empty() {
                break;
            }
            let mut forgotten = Vec::new();
            for some in pending.chunks(AT_ONCE) {
                let mut pipe = redis::Pipeline::with_capacity(some.len());
                for index in some {
                    pipe.add_command(calls[*index].1.clone());
                }
                for (index, answer) in some.iter().zip(self.link.pipeline(&pipe).await?) {
                    if answer.as_ref().is_err_and(|fault| fault.is_code("NOSCRIPT")) {
                        forgotten.push(*index);
                    }
                    answers[*index] = Some(read_settled(answer));
                }
            }
            for (script, _) in forgotten.iter().map(|index| &calls[*index]) {
                script.load(&self.link).await?;
            }
            pending = forgotten;
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Puts claimed jobs that have no record back where they came from, to be claimed next.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or refused some of them; the others were put back.
    pub async fn give_back_unrecorded(&self, jobs: &[Claimed], order: Order) -> Result<(), StoreError> {
        let end = if order == Order::Fifo { "LPUSH" } else { "RPUSH" };
        let mut pipe = redis::Pipeline::with_capacity(jobs.len());
        // Each is put before those that are already there.
        for job in jobs.iter().rev() {
            if job.slot.enveloped {
                let record = [job.header.encode().as_bytes(), &job.payload].concat();
                pipe.cmd("LPUSH").arg(&self.keys.ready).arg(record);
            } else {
                pipe.cmd(end).arg(&self.keys.list).arg(&job.payload);
            }
        }
        for answer in self.link.pipeline(&pipe).await? {
            answer?;
        }
        Ok(())
    }

    /// The script and the call for one settlement.
    fn settlement(&self, inflight: &str, settlement: &Settlement) -> (&'static Script, Cmd) {
        let Settlement { slot, header, fate } = settlement;
        let keys = &self.keys;
        let end = |counter: &str| {
            let mut call = script::COMPLETE.call(&[inflight, &keys.stats]);
            call.arg(slot.to_string()).arg(counter).arg(keys.unique_prefix());
            (&*script::COMPLETE, call)
        };
        let release = |to: &str, header: &str, push: &str| {
            let mut call = script::RELEASE.call(&[inflight, &keys.stats, to]);
            call.arg(slot.to_string()).arg(header).arg(push);
            (&*script::RELEASE, call)
        };
        match fate {
            Fate::Complete => end("completed"),
            Fate::Discard => end("discarded"),
            Fate::Retry { delay_ms } => {
                let mut call = script::RETRY.call(&[inflight, &keys.stats, &keys.delayed]);
                call.arg(slot.to_string()).arg(header.encode()).arg(*delay_ms);
                (&*script::RETRY, call)
            }
            Fate::Bury => {
                let mut call = script::BURY.call(&[inflight, &keys.stats, &keys.dead]);
                call.arg(slot.to_string()).arg(header.encode()).arg(keys.unique_prefix());
                call.arg(self.dead.count).arg(self.dead.age_ms).arg(self.dead.bytes);
                (&*script::BURY, call)
            }
            Fate::GiveBack(order) if !slot.enveloped => {
                release(&keys.list, "", if *order == Order::Fifo { "LPUSH" } else { "RPUSH" })
            }
            Fate::Release | Fate::GiveBack(_) => release(&keys.ready, &header.encode(), "LPUSH"),
        }
    }
}

/// Those that are handed back go last to first, because each is put before the ones already there.
fn sending_order(settlements: &[Settlement]) -> Vec<usize> {
    let handed_back = |index: &usize| matches!(settlements[*index].fate, Fate::Release | Fate::GiveBack(_));
    let (mut back, mut order): (Vec<usize>, Vec<usize>) = (0..settlements.len()).partition(handed_back);
    back.sort_by_key(|index| std::cmp::Reverse(settlements[*index].slot.seq));
    order.append(&mut back);
    order
}

fn read_settled(answer: Result<Value, Fault>) -> Result<bool, StoreError> {
    match answer? {
        value @ Value::Int(_) => Ok(number(&value)? != 0),
        value @ Value::BulkString(_) => Err(StoreError::WrongType(text(value)?)),
        other => Err(unexpected(&other).into()),
    }
}
