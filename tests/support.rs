//! What the tests start and look through. No test lives here.

pub(crate) mod guest;
pub mod redis;
