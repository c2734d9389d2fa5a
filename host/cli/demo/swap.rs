//! The part of the tour in which the handler is replaced while orders come: by another version, by a broken file, and
//! back again.

use std::time::{Duration, Instant};

use sandhog::job::lease::Leases;
use sandhog::job::report::PluginReport;

use super::count::number;
use super::tour::{LOOK_EVERY, Tour};
use crate::cli::error::Outcome;
use crate::cli::text;

/// The plugin that is replaced.
const PLUGIN: &str = "orders";
/// Digits of a version that people are shown.
const DIGITS: usize = 12;

/// What was seen of it.
#[derive(Debug, Default)]
pub(super) struct Swapped {
    /// From the move of the file to the first run of the new version.
    pub(super) after: Duration,
    /// Orders booked in that time.
    pub(super) booked: u64,
    /// Versions before and after it.
    pub(super) versions: [String; 2],
    /// What the host said to a broken file; the version that went on.
    pub(super) refusal: String,
    pub(super) went_on: String,
    /// The version after the rollback.
    pub(super) back: String,
}

impl Tour<'_> {
    /// Replaces the handler under load, breaks it, and goes back.
    pub(super) async fn swap(&mut self, pid: u32) -> Outcome<Swapped> {
        let before = self.report(pid).await?.version;
        let booked = number(&self.link, "orders:count").await?;
        let moved = Instant::now();
        self.host.put(&self.host.another_version()?)?;
        let now = self.until(pid, |report| report.version != before).await?.version;
        let after = moved.elapsed();
        let booked = number(&self.link, "orders:count").await?.saturating_sub(booked);
        let short = |version: &str| version.chars().take(DIGITS).collect::<String>();
        let orders = text::counted(booked, "order", "orders");
        self.tell(
            "swap",
            &format!(
                "a file moved into the folder: version {} takes over after {}, {orders} booked meanwhile",
                short(&now),
                text::elapsed(after)
            ),
        )?;

        self.host.put(b"no component at all")?;
        let report = self.until(pid, |report| report.refusal.is_some()).await?;
        let refusal = report.refusal.unwrap_or_default();
        let said = refusal.rsplit('/').next().unwrap_or_default().to_owned();
        self.tell("swap", &format!("a broken file is refused, {} goes on: {said}", short(&report.version)))?;

        self.host.roll_back(&before)?;
        let back = self.until(pid, |report| report.version == before).await?.version;
        self.tell("rollback", &format!("`sandhog rollback {PLUGIN}`: version {} is back", short(&back)))?;
        let versions = [short(&before), short(&now)];
        Ok(Swapped {
            after,
            booked,
            versions,
            refusal: said,
            went_on: short(&report.version),
            back: short(&back),
        })
    }

    async fn until(&mut self, pid: u32, wanted: impl Fn(&PluginReport) -> bool) -> Outcome<PluginReport> {
        let asked = Instant::now();
        loop {
            self.patience(asked, "the host does not take the version")?;
            let report = self.report(pid).await?;
            if wanted(&report) {
                return Ok(report);
            }
            self.show(number(&self.link, "orders:count").await?).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What the host tells of the plugin.
    async fn report(&self, pid: u32) -> Outcome<PluginReport> {
        let rows = Leases::new(self.link.clone()).list().await?;
        let ours = rows.into_iter().find(|row| row.info.pid == pid && row.expires_in_ms > 0);
        let reports = ours.map(|row| row.info.plugins).unwrap_or_default();
        Ok(reports.into_iter().find(|report| report.name == PLUGIN).unwrap_or_default())
    }
}
