//! The most memory that guests and their jobs can make this host use, from its settings and the manifests of what it
//! serves. It is logged at the start and when it changes, so that nobody learns it from an attack. Pure, but for the
//! look at the machine.

use std::collections::BTreeMap;

use crate::capability::limits::{CALL_NAMES_BYTES, Limits};
use crate::capability::overlay::HELD_BYTES_MAX;
use crate::config::settings::Ceilings;
use crate::job::name::QueueName;
use crate::job::status::RESULT_BYTES_MAX;
use crate::plugin::manifest::{EffectsMode, Kind, Manifest};
use crate::sandbox::engine::{RUN_OVERHEAD_BYTES, idle_bytes};
use crate::sandbox::line::LOADS_MAX;
use crate::sandbox::outcome::REASON_BYTES_MAX;
use crate::worker::feeder::{CLAIM_BYTES_MAX, EFFECTS_BYTES_MAX, held_bytes_max};

/// The host itself, with nothing to do: code, threads, connections, compiled components.
const BASE_BYTES: u64 = 128 << 20;
/// Components that are loaded at once; each lies in memory as it was read, and compiled.
const LOADS: u64 = LOADS_MAX as u64 * 2;
/// What a guest has handed over lies in memory as it was taken, as a command, and in the buffer of the connection.
const COPIES: u64 = 3;
/// What Redis answers lies in the buffer of the connection and as a value.
const REPLIES: u64 = 2;
/// The answer to a claim, besides the jobs themselves: a buffer grows by doubling, and is read into values.
const CLAIM_COPIES: u64 = 3;
/// Runs of a queue at once unless its manifest says otherwise.
const CONCURRENCY: u32 = 64;
/// A page of keys.
const PAGE_BYTES: u64 = 1 << 20;
/// Reasons, backtraces and headers of a lane's jobs that have ended, until Redis knows of it.
const ENDS_BYTES: u64 = 16 << 20;

/// What a host may need at the most, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// Runs at once.
    pub(super) runs: u64,
    /// Runs that all `concurrency` together ask for, and how many there can be (`limits.instances`).
    pub(super) asked: u64,
    pub(super) places: u64,
    /// Memories, tables, stacks of these runs, and the engine's records of them.
    pub(super) sandboxes: u64,
    /// What these runs hand over, at most one call each.
    pub(super) copies: u64,
    /// What they are answered.
    pub(super) replies: u64,
    /// What they have changed and what they rely on, until it is committed; and what waits for its commit.
    pub(super) effects: u64,
    /// Payloads of jobs that run and of those that are next; ends that are to be told.
    pub(super) jobs: u64,
    /// Slots kept warm, components that are being loaded, the host itself.
    pub(super) rest: u64,
    /// Whether a manifest allows more than the default somewhere: only then can the operator lower it again.
    pub(super) is_raised: bool,
}

/// What one run may need.
#[derive(Debug, Clone, Copy)]
struct PerRun {
    sandbox: u64,
    copies: u64,
    replies: u64,
    effects: u64,
}

impl PerRun {
    fn of(manifest: &Manifest) -> Self {
        let limits = &manifest.limits;
        let is_atomic = manifest.kind != Kind::ConfigReader && manifest.effects != EffectsMode::Immediate;
        Self {
            sandbox: limits.memory_bytes.saturating_add(RUN_OVERHEAD_BYTES),
            copies: limits.value_bytes.saturating_mul(COPIES).saturating_add(2 * CALL_NAMES_BYTES),
            replies: limits.value_bytes.saturating_mul(REPLIES).saturating_add(PAGE_BYTES),
            effects: if is_atomic { HELD_BYTES_MAX * COPIES } else { 0 } + RESULT_BYTES_MAX as u64 * COPIES,
        }
    }

    fn sum(&self) -> u64 {
        [self.sandbox, self.copies, self.replies, self.effects].into_iter().fold(0, u64::saturating_add)
    }
}

impl Figure {
    /// The figure of a host that serves these plugins, a version on trial among them.
    pub(super) fn of(ceilings: &Ceilings, manifests: &[&Manifest]) -> Self {
        let mut figure = Self { rest: BASE_BYTES + idle_bytes(ceilings.instances), ..Self::default() };
        figure.rest = figure.rest.saturating_add(ceilings.component_bytes.saturating_mul(LOADS));
        let mut wanted: Vec<(PerRun, u64)> = Vec::new();
        for manifest in manifests {
            let runs = manifest.consume.iter().map(|consume| u64::from(consume.concurrency)).sum();
            let per_run = PerRun::of(manifest);
            // A config reader has a place of its own.
            match manifest.kind {
                Kind::Worker | Kind::BatchWorker => wanted.push((per_run, runs)),
                Kind::ConfigReader => figure.add_runs(per_run, 1),
            }
            figure.add_lanes(ceilings, manifest);
        }
        // The largest first: where all do not fit, these may be the ones that run.
        wanted.sort_by_key(|(per_run, _)| std::cmp::Reverse(per_run.sum()));
        let mut places = u64::from(ceilings.instances);
        (figure.asked, figure.places) = (asked(manifests), places);
        figure.is_raised = manifests.iter().any(|manifest| is_raised(manifest));
        for (per_run, runs) in wanted {
            let runs = runs.min(places);
            places -= runs;
            figure.add_runs(per_run, runs);
        }
        figure
    }

    fn add_runs(&mut self, per_run: PerRun, runs: u64) {
        let add = |sum: &mut u64, each: u64| *sum = sum.saturating_add(each.saturating_mul(runs));
        self.runs += runs;
        add(&mut self.sandboxes, per_run.sandbox);
        add(&mut self.copies, per_run.copies);
        add(&mut self.replies, per_run.replies);
        add(&mut self.effects, per_run.effects);
    }

    fn add_lanes(&mut self, ceilings: &Ceilings, manifest: &Manifest) {
        let value = manifest.limits.value_bytes;
        for consume in &manifest.consume {
            let runs = usize::try_from(consume.concurrency.min(ceilings.instances)).unwrap_or(usize::MAX);
            // One job is claimed in any case, and a claim that began may bring it all.
            let claim = CLAIM_BYTES_MAX.saturating_add(value).saturating_mul(CLAIM_COPIES);
            let held = held_bytes_max(runs, value).saturating_add(value);
            // What is said of each job of a batch; of a single one it is among the rest.
            let together = consume.batch.map_or(0, |batch| u64::from(batch.size) * runs as u64);
            let ends = ENDS_BYTES.saturating_add(together.saturating_mul(REASON_BYTES_MAX as u64 * 2));
            let jobs = claim.saturating_add(held).saturating_add(ends);
            self.jobs = self.jobs.saturating_add(jobs);
            if manifest.effects_of(consume) != EffectsMode::Immediate {
                self.effects = self.effects.saturating_add(EFFECTS_BYTES_MAX * COPIES);
            }
        }
    }

    /// All of it.
    pub(super) fn total(&self) -> u64 {
        let parts = [self.sandboxes, self.copies, self.replies, self.effects, self.jobs, self.rest];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Logs it, and what to do where the machine has less.
    pub(super) fn tell(&self, machine_bytes: Option<u64>) {
        let Self { runs, asked, places, sandboxes, copies, replies, effects, jobs, rest, is_raised } = *self;
        let [sandboxes, copies, replies, effects, jobs, rest] =
            [sandboxes, copies, replies, effects, jobs, rest].map(mib);
        let total = mib(self.total());
        tracing::info!(
            total,
            runs,
            sandboxes,
            copies,
            replies,
            effects,
            jobs,
            rest,
            "guests can make this host use so much memory at the most"
        );
        if asked > places {
            tracing::warn!(
                asked,
                places,
                "all `concurrency` together is above `limits.instances`: plugins whose jobs hang can hold every sandbox \
                 until they time out, while others wait; raise the one or lower the others"
            );
        }
        // With the defaults the figure is above the memory of most machines, and no plugin comes near it.
        if let Some(machine) = machine_bytes.filter(|machine| is_raised && *machine < self.total()) {
            let machine = mib(machine);
            tracing::warn!(
                total,
                machine,
                "guests could make this host use more memory than there is; lower `concurrency`, `limits.memory` or \
                 `limits.value` in the manifests, or `limits.instances` in the settings"
            );
        }
    }
}

/// Whether a manifest allows more memory, larger values or more runs than the default.
fn is_raised(manifest: &Manifest) -> bool {
    let (limits, default) = (&manifest.limits, Limits::default());
    let runs = manifest.consume.iter().any(|consume| consume.concurrency > CONCURRENCY);
    runs || limits.memory_bytes > default.memory_bytes || limits.value_bytes > default.value_bytes
}

/// Runs that these plugins ask for at once. A version on trial shares the queues of the one it is to replace.
fn asked(manifests: &[&Manifest]) -> u64 {
    let mut of_queue: BTreeMap<&QueueName, u32> = BTreeMap::new();
    for consume in manifests.iter().flat_map(|manifest| &manifest.consume) {
        let most = of_queue.entry(&consume.queue).or_default();
        *most = consume.concurrency.max(*most);
    }
    of_queue.into_values().map(u64::from).sum()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Memory that this process can have: the machine's, or that of its control group if it is less.
pub(super) fn machine_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").as_deref().and_then(total_of);
    let group = read("/proc/self/cgroup").and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        read(&format!("/sys/fs/cgroup{path}/memory.max"))?.trim().parse().ok()
    });
    machine.into_iter().chain(group).min()
}

/// The total in the text of /proc/meminfo.
fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const RESULTS: u64 = COPIES * RESULT_BYTES_MAX as u64;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse("t.toml", text, &Ceilings::default()).unwrap()
    }

    fn ceilings(instances: u32) -> Ceilings {
        Ceilings { instances, component_bytes: 0, ..Ceilings::default() }
    }

    #[test]
    fn each_run_counts_with_all_it_may_have() {
        let worker = manifest(
            "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\nconcurrency = 10\n[limits]\nmemory = \"64MiB\"\nvalue = \"8MiB\"",
        );
        let figure = Figure::of(&ceilings(1000), &[&worker]);
        assert_eq!(figure.runs, 10);
        assert_eq!(figure.sandboxes, 10 * (64 * MIB + RUN_OVERHEAD_BYTES));
        assert_eq!(figure.copies, 10 * (3 * 8 + 4) * MIB);
        assert_eq!(figure.replies, 10 * (2 * 8 + 1) * MIB);
        assert_eq!(figure.effects, (10 * 3 * 8 + 3 * 8) * MIB + 10 * RESULTS);
        // Ten that run, one claim, one job too many; the claim's answer three times; the ends.
        assert_eq!(figure.jobs, (10 * 8 + 2 + 8 + 3 * (2 + 8) + 16) * MIB);
        assert_eq!(figure.rest, BASE_BYTES + idle_bytes(1000));
        let parts = figure.sandboxes + figure.copies + figure.replies + figure.effects + figure.jobs;
        assert_eq!(figure.total(), parts + figure.rest);
    }

    #[test]
    fn no_more_runs_than_places_and_the_largest_count() {
        let of = |queue: &str, memory: &str| {
            manifest(&format!(
                "kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\nconcurrency = 8\n[limits]\nmemory = \"{memory}\""
            ))
        };
        let (small, large) = (of("s", "1MiB"), of("l", "100MiB"));
        let figure = Figure::of(&ceilings(10), &[&small, &large]);
        assert_eq!(figure.runs, 10);
        assert_eq!(figure.sandboxes, (8 * 100 + 2) * MIB + 10 * RUN_OVERHEAD_BYTES);
        let reader = manifest("kind = \"config-reader\"\n[limits]\nmemory = \"1MiB\"");
        let more = Figure::of(&ceilings(10), &[&small, &large, &reader]);
        assert_eq!((more.asked, more.places), (16, 10), "a reader has a place of its own");
        assert_eq!(Figure::of(&ceilings(10), &[&small, &of("s", "2MiB")]).asked, 8, "one is on trial");
        assert_eq!((more.runs, more.sandboxes - figure.sandboxes), (11, MIB + RUN_OVERHEAD_BYTES));
    }

    #[test]
    fn what_is_said_of_many_jobs_counts() {
        let of = |more: &str| {
            manifest(&format!("kind = \"worker\"\n[[consume]]\nqueue = \"q\"\nconcurrency = 4\n{more}"))
        };
        let figures = ["", "batch = { size = 512 }"].map(|more| Figure::of(&ceilings(10), &[&of(more)]));
        assert_eq!(figures[1].jobs - figures[0].jobs, 4 * 512 * 2048);
        assert_eq!(figures[1].copies, figures[0].copies, "a call hands over no more than one job's would");
    }

    #[test]
    fn of_immediate_effects_only_the_result_is_held() {
        let immediate =
            manifest("kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"q\"");
        assert_eq!(Figure::of(&ceilings(10), &[&immediate]).effects, 10 * RESULTS);
    }

    #[test]
    fn the_machine_is_looked_at() {
        assert_eq!(total_of("MemTotal:       24683736 kB\nMemFree: 1 kB\n"), Some(24_683_736 << 10));
        assert!(machine_bytes().unwrap() > 1 << 20);
    }
}
