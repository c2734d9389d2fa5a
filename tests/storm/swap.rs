//! The handler is replaced about once a second while everything else happens; now and then by a file that is broken.
//! No fault that is drawn: it goes on from the first moment of a round to the last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::cmd;
use sandhog::job::report::PluginReport;
use sandhog::plugin::release::Digest;

use super::Storm;

/// Between two versions.
const SWAP_EVERY: Duration = Duration::from_secs(1);
/// One version in so many is broken.
const BROKEN_EVERY: u64 = 5;
/// How long it may take until every host serves the last version: reading, compiling, telling, a busy machine.
const SERVED_MAX: Duration = Duration::from_secs(30);
/// The plugin, and its file.
const PLUGIN: &str = "chaos-ledger";
const FILE: &str = "chaos-ledger.wasm";

/// The versions of the ledger's handler.
pub struct Swaps {
    plugins: PathBuf,
    component: Vec<u8>,
    /// When the next one is due; never where nothing is to be swapped.
    due: Option<Instant>,
    /// Versions there have been.
    count: u64,
    /// The component that is to be served in the end.
    last_good: Digest,
    /// Whether what lies there now is broken.
    broken: bool,
}

impl Swaps {
    /// Begins with the component that lies there.
    pub fn new(plugins: &Path, component: &[u8], swaps: bool) -> Self {
        let due = swaps.then(|| Instant::now() + SWAP_EVERY);
        let last_good = Digest::of(component);
        Self { plugins: plugins.into(), component: component.into(), due, count: 0, last_good, broken: false }
    }

    /// Moves the next version into its place.
    fn put(&mut self, may_break: bool) {
        self.count += 1;
        self.broken = may_break && self.count.is_multiple_of(BROKEN_EVERY);
        let mut version = self.component.clone();
        // A custom section without a name, eight bytes long: another digest, the same code.
        version.extend([0, 9, 0]);
        version.extend(self.count.to_le_bytes());
        if !self.broken {
            self.last_good = Digest::of(&version);
        } else if self.count.is_multiple_of(2 * BROKEN_EVERY) {
            version = b"no component".to_vec();
        } else {
            version.truncate(version.len() / 2);
        }
        let beside = self.plugins.join(format!(".{FILE}.new"));
        std::fs::write(&beside, version).unwrap();
        std::fs::rename(beside, self.plugins.join(FILE)).unwrap();
    }
}

impl Storm {
    /// Puts the next version in its place when it is time for one.
    pub fn swap_when_due(&mut self) {
        if self.swaps.due.is_some_and(|due| due <= Instant::now()) {
            self.swaps.due = Some(Instant::now() + SWAP_EVERY);
            self.swap(true);
        }
    }

    fn swap(&mut self, may_break: bool) {
        self.swaps.put(may_break);
        let count = self.swaps.count;
        if self.swaps.broken {
            self.tally.broken += 1;
            self.tell(&format!("broken version {count}"));
        } else {
            self.tally.swaps += 1;
            self.tell(&format!("version {count}"));
        }
    }

    /// Waits until every host serves the last good version. No other comes meanwhile.
    pub async fn serve_the_last(&mut self) -> Result<(), String> {
        if self.swaps.due.take().is_none() {
            return Ok(());
        }
        // A host that began its life on a broken file has nothing to go on with, unless an earlier one kept it.
        if self.swaps.broken {
            self.swap(false);
        }
        let begun = Instant::now();
        loop {
            self.pass(Duration::from_millis(20)).await?;
            let served = self.served().await;
            let last = self.swaps.last_good.as_str();
            if self
                .seats
                .iter()
                .all(|seat| served.iter().any(|(pid, it)| seat.pid() == Some(*pid) && it == last))
            {
                self.swaps.due = Some(Instant::now());
                return Ok(());
            }
            if begun.elapsed() > SERVED_MAX {
                return Err(format!(
                    "not every host serves version {} ({last}): {served:?}",
                    self.swaps.count
                ));
            }
        }
    }

    /// The process ids of hosts, with the version that each tells it serves.
    async fn served(&mut self) -> Vec<(u32, String)> {
        let mut served = Vec::new();
        for key in self.server.surely::<Vec<String>>(cmd("KEYS").arg("sandhog:host:*")).await {
            let (pid, plugins): (Option<u32>, Option<String>) =
                self.server.surely(cmd("HMGET").arg(key).arg("pid").arg("plugins")).await;
            let reports: Vec<PluginReport> =
                plugins.and_then(|plugins| serde_json::from_str(&plugins).ok()).unwrap_or_default();
            let ledger = reports.into_iter().find(|report| report.name == PLUGIN);
            let version = ledger.map(|ledger| ledger.version).unwrap_or_default();
            served.extend(pid.map(|pid| (pid, version)));
        }
        served
    }
}
