//! A guest's way to Redis without a guest: the very functions the linker calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use sandhog::capability::grant::{Grants, Patterns};
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::Plan;
use sandhog::capability::refusal::Refusal;
use sandhog::capability::view::{Scope, View};
use sandhog::capability::voice::Voice;
use sandhog::storage::link::Link;

use super::guest::all_grants;

/// What a version under test shares.
pub fn scope(grants: Arc<Grants>, limits: Limits) -> Scope {
    Scope {
        plugin: "test".to_owned(),
        version: "0123456789ab".to_owned(),
        grants,
        limits,
        config: Arc::default(),
        read_only: false,
        voice: Arc::new(Voice::new("test")),
    }
}

/// A view that may do everything.
pub fn view(link: Link) -> View {
    limited(link, Limits::default())
}

/// A view that may do everything within `limits`.
pub fn limited(link: Link, limits: Limits) -> View {
    View::new(
        Arc::new(scope(all_grants(), limits)),
        Some(link),
        Arc::new(BTreeMap::new()),
        None,
        &Plan::Immediate,
    )
}

/// A view with these grants.
pub fn granted(link: Link, grants: Grants) -> View {
    View::new(
        Arc::new(scope(Arc::new(grants), Limits::default())),
        Some(link),
        Arc::default(),
        None,
        &Plan::Immediate,
    )
}

/// Patterns from a text with spaces between them.
pub fn patterns(text: &str) -> Patterns {
    Patterns::new(&text.split_whitespace().collect::<Vec<_>>())
}

/// The error a guest would get, in one line.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    use sandhog::capability::binding::sandhog::worker::types::Error;
    match answer.expect_err("must be refused").for_guest() {
        Error::Denied(name) => format!("denied {name}"),
        Error::WrongType(name) => format!("wrong-type {name}"),
        Error::Quota(bound) => format!("quota {bound}"),
        Error::Unavailable(reason) => format!("unavailable {reason}"),
    }
}
