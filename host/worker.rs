//! From a queue to a settled job: claiming (`feeder`), running (`runner`), deciding what a run means (`fate`),
//! staying alive in the fleet's eyes (`membership`) and taking back what dead hosts held (`reaper`).
//!
//! It runs sandboxes but does not know how they work; it changes jobs' places only through `job::store`.

mod brake;
pub mod counters;
mod desk;
pub mod edition;
pub mod executor;
pub mod fate;
pub mod feeder;
pub mod heal;
pub mod holds;
pub mod lane;
pub mod membership;
pub mod poll;
pub mod precedence;
pub mod reaper;
mod runner;
pub mod sandboxes;
pub mod scheduler;
pub mod search;
