//! What the tests start and look through. No test lives here.

pub mod dump;
pub(crate) mod example;
pub mod faults;
pub mod gate;
pub mod guest;
pub mod host;
pub mod log;
pub mod process;
pub mod program;
pub mod python;
pub mod receipts;
pub mod redis;
pub mod server;
pub mod view;
