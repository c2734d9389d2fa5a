//! Lists in an overlay: the operations behind `queue`, but for popping.

use std::time::{Duration, Instant};

use super::pop::Looked;
use super::slot::{Due, Held};
use super::{Overlay, due_in};
use crate::capability::foresight::{Asked, Found};
use crate::capability::refusal::Refusal;
use crate::job::change::{Seen, Write};
use crate::job::key::QueueKeys;
use crate::job::name::QueueName;
use crate::job::push::{self, PushOptions, Pushed as Outcome};
use crate::job::take::End;

/// A job that was pushed with options.
#[derive(Debug)]
pub(super) struct Pushed {
    write: Write,
    ready: String,
    unique: Option<(String, Due)>,
}

impl Pushed {
    pub(super) fn into_write(self) -> Write {
        self.write
    }
}

impl Overlay {
    /// Pushes all `payloads`, of which there is at least one; tells how many entries wait then, as far as the
    /// run can see.
    pub(in crate::capability) async fn push(
        &mut self,
        queue: &QueueName,
        payloads: Vec<Vec<u8>>,
        end: End,
    ) -> Result<u64, Refusal> {
        let key = queue.as_str();
        let before = self.length(queue).await?;
        for payload in &payloads {
            self.charge(key.len() + payload.len())?;
        }
        let count = payloads.len() as u64;
        let Some(own) = self.slot_mut(key).list() else {
            return Err(Refusal::WrongType(key.to_owned()));
        };
        match end {
            End::Front => payloads.into_iter().for_each(|payload| own.front.push_front(payload)),
            End::Back => own.back.extend(payloads),
        }
        Ok(before + count)
    }

    /// Pushes a job with a delay or a unique key.
    pub(in crate::capability) async fn push_job(
        &mut self,
        queue: &QueueName,
        payload: Vec<u8>,
        options: &PushOptions,
    ) -> Result<Outcome, Refusal> {
        let keys = QueueKeys::new(queue);
        self.charge(queue.as_str().len() + payload.len())?;
        let mut unique = None;
        if let Some((name, kept)) = &options.unique {
            let key = keys.unique(name);
            let is_taken =
                !self.free_unique(&key) || self.is_stored(&key, true).await.map_err(|r| r.about(queue))?;
            if is_taken {
                return Ok(Outcome::Duplicate);
            }
            unique = Some((key, due_in(milliseconds(*kept))));
        }
        let waiting = match options.delay {
            Some(_) => 0,
            None => {
                let ready = self.stored().length(&keys.ready).await.map_err(|r| r.about(queue))?;
                ready + self.own_ready(&keys.ready) + 1
            }
        };
        let id = push::new_id();
        let write = Write::PushJob {
            queue: queue.clone(),
            id: id.clone(),
            payload,
            delay_ms: options.delay.map(milliseconds),
            unique: options.unique.as_ref().map(|(name, kept)| (name.clone(), milliseconds(*kept))),
        };
        self.jobs.push(Pushed { write, ready: keys.ready, unique });
        Ok(if options.delay.is_some() { Outcome::Delayed(id) } else { Outcome::Waiting(waiting) })
    }

    /// Number of entries.
    pub(in crate::capability) async fn length(&mut self, queue: &QueueName) -> Result<u64, Refusal> {
        let key = queue.as_str();
        let (own, replaced) = self.slot(key).map_or((Some(0), false), |slot| (slot.length(), slot.replaced));
        let wrong = || Refusal::WrongType(key.to_owned());
        let own = own.ok_or_else(wrong)? as u64;
        if replaced {
            return Ok(own);
        }
        if let Some(known) = self.known.of(key) {
            match (known.text.is_some(), known.present) {
                (true, _) => return Err(wrong()),
                (_, Some(false)) => return Ok(own),
                _ => {}
            }
        }
        let foreseen = match &mut self.foreseen {
            Some(foreseen) => foreseen.find(Asked::Length(key), &self.direct).await,
            None => None,
        };
        let stored = match foreseen {
            Some(Found::Length(length)) => length,
            _ => self.direct.length(key).await?,
        };
        if self.is_serializable() {
            self.known.assume(key, Seen::Length(stored))?;
        }
        let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
        Ok(stored.saturating_sub(front.unsigned_abs() + back.unsigned_abs()) + own)
    }

    /// Up to `count` entries from the front.
    pub(in crate::capability) async fn peek(
        &mut self,
        queue: &QueueName,
        count: u32,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let key = queue.as_str();
        let replaced = self.slot(key).is_some_and(|slot| slot.replaced);
        let (mut entries, after): (Vec<Vec<u8>>, Vec<Vec<u8>>) = match self.slot(key).map(|slot| &slot.held) {
            None | Some(Held::Nothing) => Default::default(),
            Some(Held::List(own)) => {
                (own.front.iter().cloned().collect(), own.back.iter().cloned().collect())
            }
            Some(_) => return Err(Refusal::WrongType(key.to_owned())),
        };
        let wanted = count as usize;
        entries.truncate(wanted);
        if entries.len() < wanted && !replaced {
            let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
            let more = (wanted - entries.len()) as u64;
            // What was popped at the right is at the end of what Redis answers, if it reaches that far.
            let stored = self.stored().range(key, front, more).await?;
            let left = if back == 0 { usize::MAX } else { self.left_of(key, front, back).await? };
            if self.is_serializable() {
                let stop = front.saturating_add_unsigned(more) - 1;
                self.known.assume(key, Seen::Range { start: front, stop, entries: stored.clone() })?;
            }
            entries.extend(stored.into_iter().take(left));
        }
        entries.extend(after.into_iter().take(wanted.saturating_sub(entries.len())));
        let bytes: usize = entries.iter().map(Vec::len).sum();
        if bytes as u64 > self.direct.value_bytes_max { Err(Refusal::Quota("value")) } else { Ok(entries) }
    }

    /// Whether the run itself has not given this unique key away. One that has expired by now is let go.
    fn free_unique(&mut self, key: &str) -> bool {
        let now = Instant::now();
        let owner = self.jobs.iter_mut().find(|job| job.unique.as_ref().is_some_and(|(own, _)| own == key));
        match owner {
            Some(job) if matches!(&job.unique, Some((_, Due::At(at))) if *at <= now) => {
                job.unique = None;
                if let Write::PushJob { unique, .. } = &mut job.write {
                    *unique = None;
                }
                true
            }
            owner => owner.is_none(),
        }
    }

    /// Jobs that the run has put into this list of ready ones.
    fn own_ready(&self, ready: &str) -> u64 {
        let now =
            |job: &&Pushed| job.ready == ready && matches!(&job.write, Write::PushJob { delay_ms: None, .. });
        self.jobs.iter().filter(now).count() as u64
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
