//! The settings of a storm, its statistics, and what was found wrong.

use std::collections::BTreeMap;

use super::fault::{self, Fault};

/// The settings of a storm.
#[derive(Debug, Clone)]
pub struct Weather {
    /// The seed of all random choices.
    pub seed: u64,
    /// The `[effects]` of the manifest.
    pub effects: String,
    /// Faults, and how often each is chosen.
    pub faults: Vec<(Fault, u32)>,
    /// Whether some jobs fail after they have written everything.
    pub mishaps: bool,
    /// Whether the handler is replaced continuously.
    pub swaps: bool,
    /// Jobs pushed between two faults.
    pub portion: usize,
    /// Whether queues get random limits, and jobs random options.
    pub mixed: bool,
    /// Whether equal jobs are pushed to a batch worker.
    pub twins: bool,
    /// Attempts per job.
    pub attempts: u32,
}

/// So many that faults do not use up a job's attempts.
const PATIENT: u32 = 1000;
/// So few that a job that is charged for a fault of Redis soon dies.
const STRICT: u32 = 3;

impl Weather {
    /// Every fault.
    pub fn all(seed: u64) -> Self {
        let effects = "mode = \"atomic\"".to_owned();
        let faults = fault::ALL.to_vec();
        let (portion, attempts) = (80, PATIENT);
        Self {
            seed,
            effects,
            faults,
            mishaps: true,
            swaps: true,
            portion,
            mixed: true,
            twins: true,
            attempts,
        }
    }

    /// Only faults after which Redis does not answer: they must not cost a job its attempts.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.faults.retain(|(fault, _)| fault::UNREACHABLE.contains(fault));
        Self { mishaps: false, attempts: STRICT, ..self }
    }
}

/// Statistics of a storm.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Rounds that were right.
    pub rounds: u64,
    /// Jobs of those rounds, including follow-up jobs.
    pub jobs: u64,
    /// Jobs that were pushed again, because a fault may have lost them.
    pub pushed_again: u64,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, u64>,
    /// Versions of the handler that replaced another.
    pub swaps: u64,
    /// Versions that were broken.
    pub broken: u64,
    /// Hosts killed.
    pub host_kills: u64,
    /// How often Redis was killed.
    pub redis_kills: u64,
}

/// The ledger does not balance.
#[derive(Debug)]
pub struct Broken {
    /// The seed of the storm.
    pub seed: u64,
    /// The round, from 0.
    pub round: u64,
    /// What is wrong.
    pub problems: Vec<String>,
    /// The faults of the round, in order.
    pub story: Vec<String>,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "the ledger is broken in round {} of seed {}:", self.round, self.seed)?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
        writeln!(f, "what happened in this round:")?;
        self.story.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
