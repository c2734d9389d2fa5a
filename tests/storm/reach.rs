//! Faults after which Redis does not answer, or not in time.

use std::time::Duration;

use redis::{RedisResult, cmd};

use super::Storm;
use super::fault::End;
use super::seat::LEASE;

/// Redis' `timeout` in seconds during the fault: the least possible.
const IDLE_S: u64 = 1;
/// How long nothing is pushed meanwhile: Redis checks each connection about once a second.
const QUIET: Duration = Duration::from_millis(2_500);
/// `busy-reply-threshold` in milliseconds.
const BUSY_AFTER_MS: u64 = 20;
/// The script of another client: it only reads, so it can be killed, and it ends by itself otherwise.
const FOREIGN_SCRIPT: &str = "for i = 1, 1000000000 do end return redis.call('EXISTS', 'stranger')";

impl Storm {
    /// The former primary runs until the end of the round, so only a host itself closes connections to it.
    pub(super) async fn fail_over_open(&mut self, lag: Option<Duration>) -> RedisResult<()> {
        // A running script would make Redis refuse the commands of a failover.
        self.end_script().await;
        self.book.lossy |= lag.is_some();
        let seats = &self.seats;
        let redirect = |socket: &std::path::Path| seats.iter().for_each(|seat| seat.proxy().aim(socket));
        let demoted = self.server.fail_over_open(lag, redirect).await?;
        self.demoted.push(demoted);
        Ok(())
    }

    pub(super) fn take_away(&mut self) {
        self.server.take_away();
        self.tally.redis_kills += 1;
        let lease_ms = LEASE.as_millis() as u64;
        let long = self.moment(lease_ms, 3 * lease_ms);
        self.story.push(format!("  for {long:?}"));
        self.later(long, End::Return);
    }

    pub(super) async fn kill_connections(&mut self) -> RedisResult<()> {
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        self.server.ask(&kill).await
    }

    pub(super) fn silence(&mut self, seat: usize) {
        let long = self.moment(50, 2_500);
        self.seats[seat].proxy().silence(true);
        self.later(long, End::Speak(seat));
    }

    pub(super) fn slow_down(&mut self, seat: usize) {
        let delay = self.moment(1, 40);
        self.seats[seat].proxy().delay(delay);
        let long = self.moment(200, 2_000);
        self.later(long, End::Quick(seat));
    }

    pub(super) async fn close_idle(&mut self) -> RedisResult<()> {
        self.quiet = QUIET;
        self.later(QUIET, End::Idle);
        self.server.ask(cmd("CONFIG").arg("SET").arg("timeout").arg(IDLE_S)).await
    }

    /// Redis answers nobody, like a server whose machine or disk is stalled.
    pub(super) async fn stall(&mut self) -> RedisResult<()> {
        let long = self.moment(50, 2 * LEASE.as_millis() as u64);
        self.story.push(format!("  for {long:?}"));
        self.server.leave_alone(cmd("DEBUG").arg("SLEEP").arg(long.as_secs_f64())).await
    }

    pub(super) async fn occupy(&mut self) -> RedisResult<()> {
        let mut limit = cmd("CONFIG");
        self.server.ask::<()>(limit.arg("SET").arg("busy-reply-threshold").arg(BUSY_AFTER_MS)).await?;
        self.server.leave_alone(cmd("EVAL").arg(FOREIGN_SCRIPT).arg(0)).await?;
        let long = self.moment(100, 1_500);
        self.later(long, End::Script);
        Ok(())
    }

    /// Fails if the script has ended by itself, or with its server: then nothing is left to do.
    pub(super) async fn end_script(&mut self) {
        let _ = self.server.ask::<()>(cmd("SCRIPT").arg("KILL")).await;
    }
}
