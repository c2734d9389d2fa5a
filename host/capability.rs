//! What a guest can do to the world: `kv`, `queue`, settings and the log, each implemented once. Grants and
//! bounds are checked here, before the wire; which guest runs, and for how long, is decided in `sandbox`.

pub mod acl;
pub mod binding;
pub mod config;
pub mod contention;
mod direct;
mod effects;
mod flow;
pub mod foresight;
pub mod glob;
pub mod grant;
pub mod kv;
pub mod limits;
pub mod log;
pub mod overlay;
pub mod plan;
pub mod queue;
pub mod refusal;
mod stall;
pub mod status;
pub mod takings;
pub mod view;
pub mod voice;
pub mod write_rate;
