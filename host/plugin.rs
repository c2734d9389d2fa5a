//! Plugins: what the operator wrote about them, where they lie, and what config readers computed. How a
//! component runs is in `sandbox`; which runs when is in `worker`.

pub mod componentize;
pub mod depot;
pub mod fetch;
pub mod fleet;
pub mod load;
pub mod manifest;
pub mod name;
pub mod order;
pub mod reader;
pub mod release;
pub mod scan;
pub mod shelf;
pub mod signature;
pub mod snapshot;
pub mod survey;
pub mod watch;
