//! Talking to Redis: where it is, connections that come back, scripts, and being woken by its pushes.
//! What is said over these connections lives in `job` and `capability`.

pub mod address;
pub mod bounded;
pub mod fault;
pub mod link;
pub mod obstacle;
mod outage;
pub mod primary;
mod probe;
pub mod reminder;
pub mod script;
pub mod server;
mod together;
pub mod user;
pub mod wake;
