//! One run: a store, one call, one outcome. Nothing of it is left when it ends, unless its instance is kept for the next
//! one (`instance`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::Store;

use super::binding::batch::sandhog::worker::handler::JobParam as BatchJob;
use super::binding::worker::exports::sandhog::worker::handler::Job;
use super::engine::Core;
use super::instance::{Exports, Instance};
use super::limits::RunLimiter;
use super::load::Version;
use super::outcome::Outcome;
use super::profile::Entry;
use super::store::RunState;
use crate::capability::foresight::Foresight;
use crate::capability::log::GuestLog;
use crate::capability::overlay::Pending;
use crate::capability::plan::Plan;
use crate::capability::status::Board;
use crate::capability::view::{Usage, View};
use crate::storage::link::Link;

/// A run that timed out counts as an outage if it waited for slow replies of Redis for this share of its time.
const STALLED_SHARE: f64 = 0.5;

/// One job, as the guest sees it.
#[derive(Debug, Clone, Copy)]
pub struct JobCall<'a> {
    /// Kept through all attempts.
    pub id: &'a str,
    /// The queue it came from.
    pub queue: &'a str,
    /// The producer's bytes.
    pub payload: &'a [u8],
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The attempt whose failure is the last.
    pub max_attempts: u32,
    /// Redis time of the first claim.
    pub first_seen_ms: u64,
    /// What the producer attached.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What runs share: made once for a queue and a snapshot of settings.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The guests' way to Redis.
    pub link: Link,
    /// Settings of the config readers this plugin was granted; static ones from the manifest come under them.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Wall clock of one run.
    pub timeout: Duration,
    /// When effects take place.
    pub plan: Plan,
    /// What runs like these do, and when the job was claimed; none: nothing is foreseen, and every read is of its own time.
    pub foresight: Option<(Arc<Foresight>, Instant)>,
    /// Where it is shown how far runs are; nowhere outside a host.
    pub board: Option<Arc<Board>>,
}

/// What became of a run, and what it used.
#[derive(Debug)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What is to be committed with the job's completion. None: the run did not end well, so nothing is, or
    /// its effects took place at once.
    pub pending: Option<Pending>,
    /// Whether the run was told what only its commit can show to be right.
    pub presumed: bool,
    /// Whether Redis was unavailable: it refused a call of the run, or slow replies took most of the run's time.
    pub met_outage: bool,
    /// The job's result, if it completed and the run has set one.
    pub result: Option<Vec<u8>>,
    /// How long its instance took to start; nothing where one was kept.
    pub instantiate: Duration,
    /// Calls, effects, denials.
    pub usage: Usage,
    /// Most memory the guest had.
    pub memory_peak_bytes: u64,
    /// Bytes of log beyond the bound.
    pub log_dropped_bytes: u64,
}

/// What became of a call for many jobs.
#[derive(Debug)]
pub struct BatchReport {
    /// How the call ended, what it used, what is to be committed with the jobs that completed. `Done`: with an answer for
    /// each job.
    pub run: RunReport,
    /// What became of each job, in their order; none where the call did not end well.
    pub answers: Vec<Outcome>,
}

impl BatchReport {
    /// This report, with outcomes that an outage of Redis caused as `Outcome::Outage`.
    pub fn excused(mut self) -> Self {
        if self.run.met_outage {
            self.answers = self.answers.into_iter().map(Outcome::excused).collect();
        }
        Self { run: self.run.excused(), ..self }
    }

    /// The report of the only job.
    pub fn of_one(mut self) -> RunReport {
        if let Some(answer) = self.answers.pop() {
            self.run.outcome = answer;
        }
        self.run
    }
}

impl Version {
    /// Runs one job in a sandbox of its own.
    pub async fn run_job(&self, job: JobCall<'_>, context: &RunContext) -> RunReport {
        self.run_job_in(&mut None, job, context).await
    }

    /// Runs one job in the instance that was kept, or a fresh one, and keeps it for the next job if it may have one.
    pub async fn run_job_in(
        &self,
        kept: &mut Option<Instance>,
        job: JobCall<'_>,
        context: &RunContext,
    ) -> RunReport {
        let code = self.code();
        let Entry::Worker(worker) = &code.entry else {
            return RunReport::host_fault("it takes no single jobs");
        };
        let _running = code.core.ticker.enter();
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut instance = self.ready(&code.core, kept, context, job.id);
        let Instance { store, exports, .. } = &mut instance;
        if self.tells {
            store.data_mut().view.let_tell(job.id, context.board.clone());
        }
        if let Some((foresight, since)) = &context.foresight {
            store.data_mut().view.foresee(foresight.clone(), *since);
        }
        let param = Job {
            id: job.id,
            queue: job.queue,
            payload: job.payload,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            first_seen_ms: job.first_seen_ms,
            headers: job.headers,
        };
        // Around everything, because a timeout inside may never be polled. Dropping the store stops the guest.
        let ended = timeout(context.timeout, async {
            if exports.is_none() {
                *exports = Some(Exports::Worker(worker.instantiate_async(&mut *store).await?));
                instantiate = begun.elapsed();
            }
            let Some(Exports::Worker(exports)) = exports else { unreachable!("an instance of a worker") };
            exports.sandhog_worker_handler().call_handle(&mut *store, param).await
        })
        .await;
        let outcome = match ended {
            Ok(Ok(answer)) => Outcome::answered(answer),
            Ok(Err(error)) => self.broke(&error, store),
            Err(_) => Outcome::TimedOut,
        };
        let pending = if outcome == Outcome::Done { store.data_mut().view.finish() } else { None };
        let result = if outcome == Outcome::Done { store.data_mut().view.take_result() } else { None };
        let well = matches!(outcome, Outcome::Done | Outcome::Discarded(_));
        let has_grown = store.data().limiter.has_grown();
        let report = RunReport {
            result,
            instantiate,
            ..self.close(instance, (outcome, pending), well, kept, context.timeout)
        };
        if let Some(trial) = self.trial.as_ref().filter(|trial| trial.is_open()) {
            trial.note(code.core.profile, begun.elapsed(), has_grown);
        }
        report
    }

    /// Runs many jobs, at least one, in one call and a sandbox of its own.
    pub async fn run_batch(&self, jobs: &[JobCall<'_>], context: &RunContext) -> BatchReport {
        self.run_batch_in(&mut None, jobs, context).await
    }

    /// Runs many jobs, at least one, in one call, as `run_job_in` does one.
    pub async fn run_batch_in(
        &self,
        kept: &mut Option<Instance>,
        jobs: &[JobCall<'_>],
        context: &RunContext,
    ) -> BatchReport {
        let code = self.code();
        let (Entry::Batch(worker), Some(first)) = (&code.entry, jobs.first()) else {
            return BatchReport { run: RunReport::host_fault("it takes no batches"), answers: Vec::new() };
        };
        let _running = code.core.ticker.enter();
        let named = match jobs.len() {
            1 => first.id.to_owned(),
            more => format!("{}+{}", first.id, more - 1),
        };
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut instance = self.ready(&code.core, kept, context, &named);
        let Instance { store, exports, .. } = &mut instance;
        let params: Vec<BatchJob<'_>> = jobs.iter().map(batch_job).collect();
        let ended = timeout(context.timeout, async {
            if exports.is_none() {
                *exports = Some(Exports::Batch(worker.instantiate_async(&mut *store).await?));
                instantiate = begun.elapsed();
            }
            let Some(Exports::Batch(exports)) = exports else {
                unreachable!("an instance of a batch worker")
            };
            exports.sandhog_worker_batch_handler().call_handle_batch(&mut *store, &params).await
        })
        .await;
        let mut answers = Vec::new();
        let outcome = match ended {
            Ok(Ok(answered)) if answered.len() == jobs.len() => {
                answers.extend(answered.into_iter().map(Outcome::answered_of_batch));
                Outcome::Done
            }
            Ok(Ok(answered)) => {
                let (given, wanted) = (answered.len(), jobs.len());
                let reason = format!("the guest gave {given} answers for {wanted} jobs");
                Outcome::Trapped { reason, backtrace: String::new() }
            }
            Ok(Err(error)) => self.broke(&error, store),
            Err(_) => Outcome::TimedOut,
        };
        let pending = answers.contains(&Outcome::Done).then(|| store.data_mut().view.finish()).flatten();
        let ended_well = |answer: &Outcome| matches!(answer, Outcome::Done | Outcome::Discarded(_));
        let well = outcome == Outcome::Done && answers.iter().all(ended_well);
        let run = RunReport {
            instantiate,
            ..self.close(instance, (outcome, pending), well, kept, context.timeout)
        };
        BatchReport { run, answers }
    }

    /// The end of a run: its figures, and what becomes of its instance.
    fn close(
        &self,
        instance: Instance,
        (outcome, pending): (Outcome, Option<Pending>),
        well: bool,
        kept: &mut Option<Instance>,
        timeout: Duration,
    ) -> RunReport {
        let state = instance.store.data();
        let (usage, memory_peak_bytes) = (state.view.usage(), state.limiter.memory_bytes());
        let presumed = state.view.has_presumed();
        let met_outage = state.view.met_outage()
            || outcome == Outcome::TimedOut && state.view.stalled() >= timeout.mul_f64(STALLED_SHARE);
        let log = state.view.log().cloned();
        // Unfinished lines are logged when an instance goes, and when it rests.
        self.keep(instance, well, kept);
        let log_dropped_bytes = log.map_or(0, |log| log.finish());
        let (result, instantiate) = (None, Duration::ZERO);
        RunReport {
            outcome,
            pending,
            presumed,
            met_outage,
            result,
            instantiate,
            usage,
            memory_peak_bytes,
            log_dropped_bytes,
        }
    }

    /// A store for one run. Without a reach nothing outside can be reached.
    pub(super) fn store(
        &self,
        core: &Core,
        reach: Option<(Link, &Plan)>,
        settings: &Arc<BTreeMap<String, String>>,
        job: &str,
    ) -> Store<RunState> {
        let view = self.view(reach, settings, job);
        let memory_bytes_max = self.scope.limits.memory_bytes;
        let limiter = RunLimiter::new(memory_bytes_max);
        let mut store = Store::new(&core.engine, RunState { view, limiter, wasi: None });
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let call_bytes_max = self.scope.limits.call_bytes_max();
        store.set_hostcall_fuel(usize::try_from(call_bytes_max).unwrap_or(usize::MAX));
        store
    }

    /// What a run can reach.
    pub(super) fn view(
        &self,
        reach: Option<(Link, &Plan)>,
        settings: &Arc<BTreeMap<String, String>>,
        job: &str,
    ) -> View {
        let log = self.logs.then(|| GuestLog::new(&self.scope, job));
        let (link, plan) = reach.map_or((None, &Plan::Immediate), |(link, plan)| (Some(link), plan));
        View::new(self.scope.clone(), link, settings.clone(), log, plan)
    }

    /// What an error of the engine in a run means.
    pub(super) fn broke(&self, error: &wasmtime::Error, store: &Store<RunState>) -> Outcome {
        Outcome::broke(error, &store.data().limiter, self.scope.limits.call_bytes_max())
    }
}

impl RunReport {
    /// This report, with an outcome that an outage of Redis caused as `Outcome::Outage`.
    pub fn excused(mut self) -> Self {
        if self.met_outage {
            self.outcome = self.outcome.excused();
        }
        self
    }

    fn host_fault(cause: &str) -> Self {
        Self::of(Outcome::HostFault(cause.to_owned()))
    }

    /// Of a run without a guest.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            pending: None,
            presumed: false,
            met_outage: false,
            result: None,
            instantiate: Duration::ZERO,
            usage: Usage::default(),
            memory_peak_bytes: 0,
            log_dropped_bytes: 0,
        }
    }
}

fn batch_job<'a>(job: &JobCall<'a>) -> BatchJob<'a> {
    BatchJob {
        id: job.id,
        queue: job.queue,
        payload: job.payload,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        first_seen_ms: job.first_seen_ms,
        headers: job.headers,
    }
}
