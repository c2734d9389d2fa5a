//! What a storm pushes: jobs of the ledger, with their instructions, and tickets.

use std::collections::BTreeMap;

use redis::cmd;
use sandhog::job::producer;

use super::Storm;
use super::book::Job;
use super::manifest::KEY_HEADER;

/// Tickets at the beginning of a round.
const TICKETS: usize = 60;
/// How many different keys jobs have, if there are limits by key.
const KEYS: u32 = 4;

impl Storm {
    pub(super) async fn hand_out_tickets(&mut self) {
        let mut push = cmd("RPUSH");
        push.arg("ledger-tickets");
        for _ in self.book.tickets.len()..TICKETS {
            push.arg(self.next_ticket);
            self.book.tickets.insert(self.next_ticket.to_string());
            self.next_ticket += 1;
        }
        if push.args_iter().count() > 2 {
            self.server.ask::<u64>(&push).await.expect("between rounds Redis is there");
        }
    }

    pub(super) async fn push_portion(&mut self) {
        let first = self.next_id;
        self.next_id += self.weather.portion as u64;
        let ids: Vec<u64> = (first..self.next_id).collect();
        for id in &ids {
            let job = self.draw(*id);
            self.book.jobs.insert(*id, job);
        }
        self.push(&ids).await;
        self.push_some_twins().await;
    }

    /// Pushes missing jobs again, plainly: the unique key of a lost job may still exist.
    pub(super) async fn push_again(&mut self, ids: &[u64], twins: &BTreeMap<String, u64>) {
        let count = ids.len() as u64 + twins.values().sum::<u64>();
        self.tell(&format!("{count} jobs are pushed again"));
        self.tally.pushed_again += count;
        for id in ids {
            self.book.jobs.entry(*id).and_modify(|job| job.options.clear());
        }
        if !ids.is_empty() {
            self.push(ids).await;
        }
        for (payload, count) in twins {
            self.push_twins(payload, *count, None).await;
        }
    }

    /// Pushes jobs with their notes, in one step. If that fails, it is unknown whether it was done.
    async fn push(&mut self, ids: &[u64]) {
        let mut pipe = redis::pipe();
        for id in ids {
            pipe.cmd("SET").arg(format!("ledger:todo:{id}")).arg(1);
        }
        let (with, plain): (Vec<&Job>, Vec<&Job>) =
            ids.iter().map(|id| &self.book.jobs[id]).partition(|job| !job.options.is_empty());
        if !plain.is_empty() {
            pipe.cmd("RPUSH").arg("ledger").arg(plain.iter().map(|job| job.payload()).collect::<Vec<_>>());
        }
        let script = producer::scripts().remove(0);
        for job in with {
            pipe.cmd("EVAL").arg(script.text).arg(1).arg("ledger").arg(job.payload()).arg(&job.options);
        }
        if self.server.transact(&mut pipe).await.is_err() {
            self.book.excused.extend(ids);
        }
    }

    fn draw(&mut self, id: u64) -> Job {
        let mut words = String::new();
        let mut word = |name: &str, value: &str| words += &format!(" {name}={value}");
        let rng = &mut self.rng;
        match rng.u32(..10) {
            0 | 1 => word("seq", &rng.u32(..3).to_string()),
            2 => word("swap", &rng.u32(..3).to_string()),
            3 | 4 => word("ticket", if rng.bool() { "front" } else { "back" }),
            5 => word("follow", &(rng.u64(..3) * 40).to_string()),
            6 => word("once", &(rng.u64(..3) * 40).to_string()),
            _ => {}
        }
        if rng.u32(..4) == 0 {
            word("spin", &rng.u32(1..20).to_string());
        }
        if self.weather.mishaps {
            match rng.u32(..2000) {
                0..100 => word("retry", "1"),
                100..200 => word("trap", &rng.u32(1..3).to_string()),
                200..240 => word("hoard", "1"),
                // Rare: each delays its round for as long as a run may take.
                240 => word("hang", "1"),
                _ => {}
            }
        }
        let amount = self.rng.i64(-1000..=1000);
        let options = if self.weather.mixed { self.draw_options(id) } else { Vec::new() };
        Job { id, amount, words, options }
    }

    /// Options of the script for producers; none for a plain push.
    fn draw_options(&mut self, id: u64) -> Vec<String> {
        let rng = &mut self.rng;
        let mut options = Vec::new();
        if rng.bool() {
            return options;
        }
        let mut add = |words: &[&str]| options.extend(words.iter().map(ToString::to_string));
        if rng.u32(..4) > 0 {
            add(&["header", KEY_HEADER, &rng.u32(..KEYS).to_string()]);
        }
        match rng.u32(..8) {
            0 | 1 => add(&["delay", &rng.u32(..80).to_string()]),
            2 => add(&["unique", &format!("job {id}"), "60000"]),
            3 => add(&["front"]),
            4 => add(&["id", "the-same"]),
            _ => {}
        }
        options
    }
}
