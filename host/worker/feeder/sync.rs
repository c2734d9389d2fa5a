//! One exchange with Redis: the steps of the outbox in their order, and a claim. `setback` handles failed exchanges.

use super::accounts::{Accounts, count};
use super::{Feeder, commit};
use crate::job::settle::Fate;
use crate::job::store::{Delivery, StoreError};
use crate::worker::desk::End;

impl Feeder {
    /// Reports what is in the outbox and claims up to `claim` jobs. False: it failed, and another attempt makes sense now.
    pub(super) async fn sync_with_redis(&mut self, claim: u32) -> bool {
        self.outbox.stop_clock();
        if self.lane.delivery == Delivery::AtMostOnce {
            // Nothing was recorded at the claim, so there is nothing to report.
            for ended in self.outbox.take_all() {
                let fate = if matches!(ended.end, End::Complete) { Fate::Complete } else { Fate::Discard };
                count(&self.lane, fate, &ended);
            }
        }
        match self.flush(claim).await {
            Ok(()) => {
                self.trouble.ease(claim > 0);
                true
            }
            Err(error) => {
                self.setback(error).await;
                false
            }
        }
    }

    async fn flush(&mut self, claim: u32) -> Result<(), StoreError> {
        self.put_back().await?;
        let commits = self.take_commits();
        let lane = self.lane.clone();
        if lane.current().policy.limits.fleet_concurrency.is_some() {
            // One after the other: what is committed makes room for what is claimed.
            let verdicts = commit::send(&lane, &commits).await;
            let judged = self.judge_all(commits, verdicts).await;
            return self.settle_and_claim(claim).await.and(judged);
        }
        // Side by side: they are about different jobs and travel on different connections. The claim first: its jobs run
        // while Redis commits.
        let (claimed, verdicts) = tokio::join!(self.settle_and_claim(claim), commit::send(&lane, &commits));
        let judged = self.judge_all(commits, verdicts).await;
        claimed.and(judged)
    }

    async fn settle_and_claim(&mut self, claim: u32) -> Result<(), StoreError> {
        self.settle().await?;
        self.turn(claim).await
    }

    /// The parts that an answer about jobs changes.
    pub(super) fn accounts(&mut self) -> Accounts<'_> {
        let Self { lane, in_flight, demand, outbox, .. } = self;
        Accounts { lane, in_flight, demand, outbox }
    }
}
