//! The tour itself, step by step: each step tells what it does, does it, and waits until Redis shows that it
//! happened.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use redis::cmd;
use sandhog::config::settings::Overrides;
use sandhog::job::inspect::{self, QueueCounts};
use sandhog::job::lease::Leases;
use sandhog::storage::link::Link;
use serde_json::Value;

use super::Guide;
use super::count::{self, number, queue};
use super::orders::Orders;
use super::process::HostProcess;
use super::promise::Seen;
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::private_redis::PrivateRedis;
use crate::cli::{progress, text};

/// Pushes into which the orders are divided.
const BATCHES: usize = 100;
/// Between two of them, so that there is something to watch, and orders still come when a setting changes.
const BATCH_EVERY: Duration = Duration::from_millis(25);
/// How often Redis is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(3);
/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait until the host has orders in flight. New ones come every `BATCH_EVERY`.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// The tour under way.
pub(super) struct Tour<'t> {
    guide: &'t Guide,
    orders: &'t Orders,
    pub(super) link: Link,
    pub(super) host: HostProcess,
    line: ProgressBar,
    port: u16,
}

impl<'t> Tour<'t> {
    /// Prepares; nothing has happened yet.
    pub(super) async fn new(
        guide: &'t Guide,
        context: &Context,
        redis: &PrivateRedis,
        plugins: &Path,
        orders: &'t Orders,
    ) -> Outcome<Self> {
        let settings =
            context.settings_with(Overrides { redis_url: Some(redis.url()), ..Overrides::default() })?;
        let link = context::connect(&settings).await?;
        let host = HostProcess::new(plugins, &redis.url())?;
        let port = redis.port().unwrap_or(0);
        Ok(Self { guide, orders, link, host, line: progress::live_line(), port })
    }

    /// The connection of a plain client.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// What the host logged last.
    pub(super) fn log_tail(&self) -> Vec<String> {
        self.host.log_tail()
    }

    /// Takes the whole tour.
    pub(super) async fn take(&mut self) -> Outcome<Seen> {
        let port = self.port;
        self.tell("redis", &format!("a private server; look at it with `redis-cli -p {port}`"))?;
        self.set("keyname", "world").await?;
        self.set("config:greeting", "hello").await?;
        self.tell("client", "SET keyname world, SET config:greeting hello")?;
        let pid = self.start_host().await?;
        self.tell("host", &format!("process {pid} serves the queue `orders`"))?;
        self.tell_orders()?;

        let link = self.link.clone();
        let orders = self.orders;
        let (pushed, seen) = tokio::join!(push(&link, orders), self.ride(pid));
        pushed?;
        let seen = seen?;
        self.wait_for_the_end().await?;
        let left_in_order = self.host.stop().await?;
        self.line.finish_and_clear();
        self.tell("done", "the queue is empty, the host has left; now it is counted")?;
        Ok(Seen { left_in_order, ..seen })
    }

    /// What happens while the orders are worked off.
    async fn ride(&mut self, pid: u32) -> Outcome<Seen> {
        self.booked(self.orders.good / 4).await?;
        self.set("config:greeting", "ahoy").await?;
        let followed = self.follow().await?;
        let after = followed.map_or("not seen".to_owned(), text::elapsed);
        self.tell("client", &format!("SET config:greeting ahoy: a receipt shows it after {after}"))?;

        let swapped = self.swap(pid).await?;

        self.booked(self.orders.good / 2).await?;
        self.wait_for_orders_in_flight().await?;
        self.host.kill()?;
        let killed = Instant::now();
        let before = number(&self.link, "orders:count").await?;
        let in_hands = self.jobs().await?.inflight;
        let orders = text::counted(in_hands, "order", "orders");
        self.tell("kill -9", &format!("process {pid} is dead, with {orders} in its hands"))?;

        let pid = self.start_host().await?;
        self.booked(before + 1).await?;
        let back_after = killed.elapsed();
        self.tell("host", &format!("process {pid} is at work {} after the kill", text::elapsed(back_after)))?;

        self.set("config:max_amount_cents", "10000000").await?;
        let above = text::counted(self.orders.above, "order", "orders");
        self.tell("client", &format!("SET config:max_amount_cents 10000000: {above} may pass now"))?;
        Ok(Seen { followed, swapped, in_hands, back_after, left_in_order: false })
    }

    async fn start_host(&mut self) -> Outcome<u32> {
        let pid = self.host.start()?;
        let leases = Leases::new(self.link.clone());
        let asked = Instant::now();
        loop {
            self.patience(asked, "the host did not start")?;
            let serves = leases.list().await?.into_iter().any(|row| {
                row.info.pid == pid && row.expires_in_ms > 0 && row.info.queues.contains(&queue())
            });
            if serves {
                return Ok(pid);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when the host has orders in flight: a kill that finds none would show nothing. If orders come too slowly for
    /// that, it returns after a while.
    async fn wait_for_orders_in_flight(&self) -> Outcome {
        let asked = Instant::now();
        while self.jobs().await?.inflight == 0 && asked.elapsed() < IN_FLIGHT_WAIT {}
        Ok(())
    }

    /// Returns when so many orders are booked.
    async fn booked(&mut self, wanted: u64) -> Outcome {
        let asked = Instant::now();
        loop {
            self.patience(asked, "orders are not booked")?;
            let booked = number(&self.link, "orders:count").await?;
            self.show(booked).await?;
            if booked >= wanted {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How long it takes until a receipt shows the new greeting; none if none ever does.
    async fn follow(&mut self) -> Outcome<Option<Duration>> {
        let set = Instant::now();
        while set.elapsed() < PATIENCE {
            let last: Vec<Vec<u8>> = self.link.query(cmd("LRANGE").arg("receipts").arg(-1).arg(-1)).await?;
            let receipt: Value =
                last.first().and_then(|last| serde_json::from_slice(last).ok()).unwrap_or_default();
            if receipt["greeting"].as_str().is_some_and(|greeting| greeting.starts_with("ahoy")) {
                return Ok(Some(set.elapsed()));
            }
            if number(&self.link, "orders:count").await? >= self.orders.good - self.orders.above {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(None)
    }

    async fn wait_for_the_end(&mut self) -> Outcome {
        let asked = Instant::now();
        loop {
            self.patience(asked, "the queue does not become empty")?;
            let jobs = self.jobs().await?;
            self.show(number(&self.link, "orders:count").await?).await?;
            if jobs.waiting + jobs.ready + jobs.inflight + jobs.delayed + jobs.parked == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Fails when a step takes too long, or when the host is gone though nobody killed it.
    pub(super) fn patience(&mut self, asked: Instant, what: &str) -> Outcome {
        self.host.check()?;
        if asked.elapsed() > PATIENCE {
            let text = format!("{what} within {} s", PATIENCE.as_secs());
            return Err(Failure::failed(text).with_details(self.host.log_tail()));
        }
        Ok(())
    }

    /// Brings the live line up to date.
    pub(super) async fn show(&self, booked: u64) -> Outcome {
        if !self.line.is_hidden() {
            let jobs = self.jobs().await?;
            self.line.set_message(format!(
                "         {} booked  {} waiting  {} in flight  {} delayed  {} dead",
                text::count(booked),
                text::count(jobs.waiting + jobs.ready),
                jobs.inflight,
                jobs.delayed,
                jobs.dead
            ));
        }
        Ok(())
    }

    async fn jobs(&self) -> Outcome<QueueCounts> {
        Ok(inspect::counts(&self.link, &count::queue()).await?)
    }

    async fn set(&self, key: &str, value: &str) -> Outcome {
        Ok(self.link.query::<()>(cmd("SET").arg(key).arg(value)).await?)
    }

    /// Tells a step above the live line.
    pub(super) fn tell(&self, what: &str, text: &str) -> Outcome {
        self.line.suspend(|| self.guide.tell(what, text))
    }

    fn tell_orders(&self) -> Outcome {
        let Orders { good, above, twice, bad, .. } = self.orders;
        let n = text::count;
        self.tell(
            "client",
            &format!(
                "RPUSH orders: {} good ones ({} above the maximum, {} pushed twice) and {} bad ones",
                n(*good),
                n(*above),
                n(*twice),
                n(*bad)
            ),
        )
    }
}

/// Pushes as any producer would, a little at a time.
async fn push(link: &Link, orders: &Orders) -> Outcome {
    for batch in orders.payloads.chunks(orders.payloads.len().div_ceil(BATCHES)) {
        link.query::<u64>(cmd("RPUSH").arg("orders").arg(batch)).await?;
        tokio::time::sleep(BATCH_EVERY).await;
    }
    Ok(())
}
