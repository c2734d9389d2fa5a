//! From raw text to resolved settings, with every problem of a file reported at once. The only part that reads
//! the environment. What plugins' manifests mean is in `plugin`; they are read with the same reader.

pub mod document;
pub mod env;
pub mod hex;
mod line;
pub mod log_filter;
pub mod problem;
pub mod public_key;
pub mod seat;
pub mod settings;
pub mod table;
pub mod unit;
