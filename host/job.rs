//! What a job is and everything that happens to it in Redis: names, keys, envelopes, and one script for each
//! change of its place. Knows plugins only by name, and nothing of sandboxes.

pub mod backoff;
pub mod change;
pub mod commit;
pub mod edit;
pub mod envelope;
pub mod filter;
pub mod fingerprint;
pub mod heal;
pub mod hold;
pub mod import;
pub mod inspect;
pub mod key;
pub mod lease;
pub mod limit;
pub mod lost;
pub mod name;
mod pace;
mod popped;
pub mod producer;
pub mod push;
mod reply;
pub mod report;
pub mod schedule;
mod script;
pub mod settle;
pub mod status;
pub mod store;
pub mod stored;
pub mod take;
pub mod transfer;
pub mod walk;
