//! Plugins: from a file to something that can run.
//!
//! What runs them is `sandbox`; where their jobs come from is `worker`.

pub mod componentize;
