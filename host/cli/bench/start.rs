//! The workload `start`: what a component costs before and beside its work, alone and one run after the other. Compiling;
//! loading what was compiled; its first run; a run in a fresh instance, and in one that is kept; the memory an instance
//! has. The runs are of one job (`--job`), whose effects are dropped; a round trip to Redis counts where the job makes one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use sandhog::app::compiling;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::config::settings::{Overrides, Settings};
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::scan::{Pair, Source};
use sandhog::sandbox::engine::{PoolSettings, Sandbox};
use sandhog::sandbox::{CacheSettings, Compiling, Instance, JobCall, Outcome as Ended, RunContext, Tier};
use sandhog::storage::link::Link;
use serde_json::{Value, json};

use super::{Args, line, made_with, micros, percentiles, resident_kib, round};
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::table::{Column, Table};
use crate::cli::{child, text};

/// Runs of each kind when `--jobs` does not say it; those of one kind take no longer than this.
const RUNS: u64 = 2_000;
const TIME_MAX: Duration = Duration::from_secs(3);
/// Instances alive at once, whose memory is looked at together.
const ALIVE: usize = 16;

/// What a component costs.
struct Cost {
    name: String,
    made_with: String,
    bytes: u64,
    compile: Duration,
    load: Duration,
    first: Duration,
    fresh: Histogram<u64>,
    kept: Histogram<u64>,
    memory_bytes: u64,
    resident_bytes: u64,
}

/// What runs need beside the component.
struct Stage<'a> {
    settings: Settings,
    link: Link,
    job: &'a [u8],
    runs: u64,
    _redis: Option<PrivateRedis>,
}

/// Runs the workload with each component in turn.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let redis = match &context.global.redis {
        Some(_) => None,
        None => Some(PrivateRedis::start(Reach::Socket).await?),
    };
    let url = redis.as_ref().map(PrivateRedis::url);
    let settings = context.settings_with(Overrides { redis_url: url, ..Overrides::default() })?;
    let link = context::connect(&settings).await?;
    let runs = args.jobs.unwrap_or(RUNS);
    let stage = Stage {
        settings,
        link,
        job: args.job.as_deref().unwrap_or_default().as_bytes(),
        runs,
        _redis: redis,
    };
    let mut costs = Vec::new();
    for component in args.components() {
        costs.push(stage.measure(component).await?);
    }
    Ok(tell(&costs))
}

impl Stage<'_> {
    async fn measure(&self, path: &Path) -> Outcome<Cost> {
        let refused = |problems| context::refusal("the plugin would be refused", &problems);
        let source = Pair::of(path, None).and_then(|pair| pair.read(&self.settings.ceilings, &[]));
        let source = source.map_err(refused)?;
        let cache = tempfile::tempdir().context("cannot make a folder for what is compiled").refuse()?;
        let (_, compile) = self.load(&source, cache.path())?;
        // Another sandbox, as after a restart.
        let (loaded, load) = self.load(&source, cache.path())?;
        let mut instance = None;
        let (first, memory_bytes) = self.once(&loaded, &mut instance).await?;
        let fresh = self.repeat(&loaded, &mut None, |kept| *kept = None).await?;
        let kept = self.repeat(&loaded, &mut instance, |_| {}).await?;
        let mut alive: Vec<Option<Instance>> = Vec::new();
        let before_kib = resident_kib();
        for _ in 0..ALIVE {
            let mut one = None;
            self.once(&loaded, &mut one).await?;
            alive.push(one);
        }
        let resident_bytes = resident_kib().saturating_sub(before_kib) * 1024 / ALIVE as u64;
        Ok(Cost {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            made_with: made_with(&source.component),
            bytes: source.component.len() as u64,
            compile,
            load,
            first,
            fresh,
            kept,
            memory_bytes,
            resident_bytes,
        })
    }

    /// Loads a component that may keep its instances as long as it lives.
    fn load(&self, source: &Source, cache: &Path) -> Outcome<(Loaded, Duration)> {
        let compiling = compiling(&self.settings, child::OURSELVES.into(), Tier::Optimized, false);
        let cache = CacheSettings { folder: cache.to_owned(), bytes_max: u64::MAX, make: true };
        let pool = PoolSettings {
            instances: u32::try_from(4 * ALIVE).unwrap_or(u32::MAX),
            memory_bytes_max: self.settings.ceilings.memory_bytes,
        };
        let sandbox = Sandbox::new(&pool, Compiling { cache: Some(cache), ..compiling })
            .context("cannot set up the sandbox")
            .refuse()?;
        let mut source = source.clone();
        source.manifest.reuse = u32::MAX;
        let begun = Instant::now();
        let loaded = load(source, &sandbox);
        let took = begun.elapsed();
        let loaded = loaded.map_err(|problems| context::refusal("the plugin would be refused", &problems))?;
        Ok((loaded, took))
    }

    /// One run: how long it took, and the memory the guest had.
    async fn once(&self, loaded: &Loaded, kept: &mut Option<Instance>) -> Outcome<(Duration, u64)> {
        let consume = loaded.manifest.consume.first().ok_or_else(not_a_worker)?;
        let atomic = Atomic { isolation: Isolation::default(), pops: Pops::Look, contention: None };
        let context = RunContext {
            link: self.link.clone(),
            settings: Arc::default(),
            timeout: consume.timeout,
            plan: Plan::Atomic(Arc::new(atomic)),
            foresight: None,
            board: None,
        };
        let job = JobCall {
            id: "bench-1",
            queue: consume.queue.as_str(),
            payload: self.job,
            attempt: 1,
            max_attempts: consume.max_attempts,
            first_seen_ms: 0,
            headers: &[],
        };
        let begun = Instant::now();
        let report = loaded.version.run_job_in(kept, job, &context).await;
        let took = begun.elapsed();
        match report.outcome {
            Ended::Done => Ok((took, report.memory_peak_bytes)),
            other => Err(Failure::failed(format!(
                "`{}` does not complete the job: {}",
                loaded.name.as_str(),
                other.reason()
            ))
            .with_hint("give it one that it completes: `--job PAYLOAD`")),
        }
    }

    /// Many runs, in microseconds; `between` does what is to be done with the instance after each.
    async fn repeat(
        &self,
        loaded: &Loaded,
        kept: &mut Option<Instance>,
        between: impl Fn(&mut Option<Instance>),
    ) -> Outcome<Histogram<u64>> {
        let (mut took, begun) = (micros(), Instant::now());
        for _ in 0..self.runs {
            // With what it takes to throw the instance away.
            let started = Instant::now();
            self.once(loaded, kept).await?;
            between(kept);
            took.saturating_record(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            if begun.elapsed() > TIME_MAX {
                break;
            }
        }
        Ok(took)
    }
}

fn not_a_worker() -> Failure {
    Failure::refused("only workers are measured that take one job a call")
}

impl Cost {
    fn document(&self) -> Value {
        let ms = |time: Duration| round(time.as_secs_f64() * 1e3);
        json!({
            "component": self.name,
            "made_with": self.made_with,
            "component_bytes": self.bytes,
            "compile_ms": ms(self.compile),
            "load_ms": ms(self.load),
            "first_run_ms": ms(self.first),
            "fresh_run_ms": percentiles(&self.fresh),
            "kept_run_ms": percentiles(&self.kept),
            "memory_bytes": self.memory_bytes,
            "resident_bytes": self.resident_bytes,
        })
    }

    fn row(&self) -> [String; 10] {
        let p50 = |runs: &Histogram<u64>| text::elapsed(Duration::from_micros(runs.value_at_quantile(0.5)));
        [
            self.name.clone(),
            self.made_with.clone(),
            text::size(self.bytes),
            text::elapsed(self.compile),
            text::elapsed(self.load),
            text::elapsed(self.first),
            p50(&self.fresh),
            p50(&self.kept),
            text::size(self.memory_bytes),
            text::size(self.resident_bytes),
        ]
    }
}

fn tell(costs: &[Cost]) -> (Value, String) {
    let mut table = Table::new(&[
        Column::Text("component"),
        Column::Text("made with"),
        Column::Number("size"),
        Column::Number("compile"),
        Column::Number("load"),
        Column::Number("first run"),
        Column::Number("run, fresh"),
        Column::Number("run, kept"),
        Column::Number("memory"),
        Column::Number("resident"),
    ]);
    costs.iter().for_each(|cost| table.row(cost.row()));
    let heading = line("workload", "start: what a component costs, one run after the other")
        + &line("runs", "p50 in a fresh instance, and in one that is kept (`[instances] reuse`)");
    let documents: Vec<Value> = costs.iter().map(Cost::document).collect();
    (json!({ "workload": "start", "components": documents }), heading + &table.render())
}
