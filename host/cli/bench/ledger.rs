//! What the workload `ledger` adds to a backlog: the keys its jobs work on, and whether the sums are right at the end.
//! A bench that computes something wrong is worth nothing, however fast.

use redis::cmd;
use sandhog::job::name::QueueName;
use sandhog::storage::link::Link;

use crate::cli::error::{Failure, Outcome};

/// By what each number is multiplied.
const RATE: u64 = 3;
/// Balances among which the guest spreads the numbers.
const BALANCES: u64 = 16;
/// Keys deleted, and receipts read, in one command.
const PAGE: u64 = 1000;

/// The keys of one run of the workload; the guest of the same name writes them.
pub(super) struct Ledger {
    prefix: String,
    jobs: u64,
}

/// What was found in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Books {
    jobs: u64,
    /// The sum of all balances.
    balance: i64,
    /// All receipts, and the numbers of this run that have one.
    receipts: u64,
    distinct: u64,
    markers: u64,
}

impl Ledger {
    /// Of `jobs` jobs, numbered from 0, in `queue`.
    pub(super) fn new(queue: &QueueName, jobs: u64) -> Self {
        Self { prefix: format!("{queue}:"), jobs }
    }

    /// Writes what the jobs read.
    pub(super) async fn open(&self, link: &Link) -> Outcome {
        Ok(link.query::<()>(cmd("SET").arg(self.key("rate")).arg(RATE)).await?)
    }

    /// Counts what the jobs wrote, and deletes it.
    pub(super) async fn close(&self, link: &Link) -> Outcome<Books> {
        let balances: Vec<String> = (0..BALANCES).map(|n| self.key(&format!("balance:{n}"))).collect();
        let sums: Vec<Option<i64>> = link.query(cmd("MGET").arg(&balances)).await?;
        let (receipts, distinct) = self.receipts(link).await?;
        let mut markers = 0;
        for first in (0..self.jobs).step_by(usize::try_from(PAGE).unwrap_or(1)) {
            let numbers = first..self.jobs.min(first + PAGE);
            let page: Vec<String> = numbers.map(|number| self.key(&format!("marker:{number}"))).collect();
            markers += link.query::<u64>(cmd("UNLINK").arg(&page)).await?;
        }
        let rest = [self.key("rate"), self.key("receipts")];
        link.query::<u64>(cmd("UNLINK").arg(&balances).arg(&rest)).await?;
        Ok(Books { jobs: self.jobs, balance: sums.into_iter().flatten().sum(), receipts, distinct, markers })
    }

    /// How many receipts there are, and how many numbers have one.
    async fn receipts(&self, link: &Link) -> Outcome<(u64, u64)> {
        let mut seen = vec![false; usize::try_from(self.jobs).unwrap_or(usize::MAX)];
        let mut count = 0;
        loop {
            let mut range = cmd("LRANGE");
            range.arg(self.key("receipts")).arg(count).arg(count + PAGE - 1);
            let page: Vec<String> = link.query(&range).await?;
            if page.is_empty() {
                break;
            }
            count += page.len() as u64;
            for number in page.iter().filter_map(|receipt| receipt.parse::<usize>().ok()) {
                seen.get_mut(number).into_iter().for_each(|seen| *seen = true);
            }
        }
        Ok((count, seen.into_iter().filter(|seen| *seen).count() as u64))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Books {
    /// The balance, if every job was booked once.
    pub(super) fn check(self) -> Outcome<u64> {
        let jobs = self.jobs;
        let worth = RATE * jobs * (jobs - 1) / 2;
        let Self { balance, receipts, distinct, markers, .. } = self;
        if (balance, receipts, distinct, markers) != (i64::try_from(worth).unwrap_or(-1), jobs, jobs, jobs) {
            return Err(Failure::failed(format!(
                "the books are wrong: {jobs} jobs were worth {worth}, but {balance} was booked, with {receipts} \
                 receipts for {distinct} of them and {markers} markers"
            )));
        }
        Ok(worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_with_anything_missing_or_twice_are_wrong() {
        let right = Books { jobs: 4, balance: 18, receipts: 4, distinct: 4, markers: 4 };
        assert!(right.check().is_ok());
        for wrong in [
            Books { balance: 15, ..right },
            Books { receipts: 5, ..right },
            Books { receipts: 4, distinct: 3, ..right },
            Books { markers: 3, ..right },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
