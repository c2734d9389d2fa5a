//! The attacks of the workload `neighbour`: scripts for the probe guests, again and again.

use std::path::Path;

use anyhow::Context as _;
use redis::cmd;
use sandhog::job::key::QueueKeys;
use sandhog::job::name::QueueName;

use super::super::stage::Stage;
use crate::cli::error::{Failure, Outcome, Shape};

/// Guests that do what their payload says; `make guests` builds them.
const PROBE: &str = "probe.wasm";
const WASI_PROBE: &str = "wasi-probe.wasm";
/// Bytes of a value that is fetched again and again: the most that a manifest allows which does not say it.
const GIANT_BYTES: usize = 1 << 20;

/// One attack.
pub(super) struct Attack {
    pub(super) name: &'static str,
    component: &'static str,
    /// What each job says; `{}` stands for what the bench's keys begin with. None: nobody attacks.
    script: Option<&'static str>,
}

const fn attack(name: &'static str, script: &'static str) -> Attack {
    Attack { name, component: PROBE, script: Some(script) }
}

/// All of them.
static ATTACKS: [Attack; 16] = [
    attack("endless loop", "spin"),
    attack("endless host calls", "spin-calls"),
    attack("memory to the limit", "grow 30"),
    attack("memory beyond the limit", "grow 600"),
    attack("memory fills", "fill 30"),
    attack("recursion", "recurse"),
    attack("traps", "trap"),
    attack("panics", "panic"),
    attack("failures", "bury enough"),
    attack("calls to the quota", "repeat 10000 kv.get {}none"),
    attack("giant replies", "repeat 1000 kv.get {}giant"),
    attack("denied calls", "repeat 10000 kv.get secret"),
    attack("pushes to the quota", "repeat 1000 queue.push {}sink x"),
    attack("log lines", "repeat 10000 log info context text text text text"),
    Attack { name: "sleep", component: WASI_PROBE, script: Some("sleep-for-ever") },
    // No attack, but what any queue may be: its jobs wait for something, and as many do at once as may.
    Attack { name: "slow jobs", component: WASI_PROBE, script: Some("sleep 100") },
];

/// Those whose names hold `wanted`, or all.
pub(super) fn all(wanted: Option<&str>) -> Outcome<Vec<&'static Attack>> {
    let found: Vec<&Attack> =
        ATTACKS.iter().filter(|attack| wanted.is_none_or(|wanted| attack.name.contains(wanted))).collect();
    if found.is_empty() {
        let names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        return Err(Failure::refused(format!("no attack has `{}` in its name", wanted.unwrap_or_default()))
            .with_hint(format!("there are: {}", names.join(", "))));
    }
    Ok(found)
}

impl Attack {
    /// Nobody attacks.
    pub(super) const NONE: Self = Self { name: "alone", component: PROBE, script: None };

    /// Puts the hostile plugin beside the good one; answers its queue.
    pub(super) async fn prepare(&self, stage: &Stage, probes: &Path) -> Outcome<QueueName> {
        let (queue, ours) = (self.queue(stage), self.prefix(stage));
        let folder = stage.folder();
        let component = probes.join(self.component);
        std::fs::copy(&component, folder.join("hostile.wasm"))
            .with_context(|| format!("cannot copy `{}`; build it with `make guests`", component.display()))
            .refuse()?;
        let manifest = format!(
            "kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"{queue}\"\nconcurrency = {}\n\
             timeout = \"1s\"\nmax_attempts = 1\n[grants]\nkv.read = [\"{ours}*\"]\nkv.write = [\"{ours}*\"]\n\
             queue.push = [\"{ours}sink\"]\n",
            super::CONCURRENCY
        );
        std::fs::write(folder.join("hostile.toml"), manifest).context("cannot write a manifest").refuse()?;
        let giant = vec![b'x'; GIANT_BYTES];
        stage.link.query::<()>(cmd("SET").arg(format!("{ours}giant")).arg(giant)).await?;
        Ok(queue)
    }

    /// Deletes what the attack left behind.
    pub(super) async fn clear(&self, stage: &Stage) -> Outcome {
        let ours = self.prefix(stage);
        let keys = QueueKeys::new(&self.queue(stage));
        let mut delete = cmd("UNLINK");
        delete.arg(&[keys.list, keys.ready, keys.delayed, keys.dead, keys.stats, keys.paused]);
        delete.arg(format!("{ours}giant")).arg(format!("{ours}sink"));
        stage.link.query::<u64>(&delete).await?;
        Ok(())
    }

    /// The payload of the attack's jobs.
    pub(super) fn payload(&self, stage: &Stage) -> Option<String> {
        let script = self.script?.replace("{}", &self.prefix(stage));
        // The other probe knows no such command, and has nothing to report.
        Some(if self.component == PROBE { format!("report none\n{script}") } else { script })
    }

    /// The queue of the attack's jobs.
    pub(super) fn queue(&self, stage: &Stage) -> QueueName {
        QueueName::new(format!("{}attack", self.prefix(stage)))
            .expect("as good a name as that of the bench's queue")
    }

    fn prefix(&self, stage: &Stage) -> String {
        format!("{}-", stage.queues[0])
    }
}
