//! What the tests start and look through. No test lives here.

pub mod dump;
pub(crate) mod guest;
pub mod faults;
pub mod host;
pub mod redis;
