//! What this worker takes from the config reader `site-settings`, with defaults for a host that has none.

use sandhog_guest::{Result, config};

/// The settings of one run: the host keeps one snapshot from its start to its end.
pub(crate) struct Settings {
    /// Greets the customer on the receipt.
    pub(crate) greeting: String,
    /// Stands on the receipt.
    pub(crate) currency: String,
    /// Orders above it wait.
    pub(crate) max_amount_cents: i64,
}

impl Settings {
    /// Reads them; no round trip.
    pub(crate) fn read() -> Result<Self> {
        Ok(Self {
            greeting: config::get_or("site-settings.greeting", "hello".into())?,
            currency: config::get_or("site-settings.currency", "EUR".into())?,
            max_amount_cents: config::get_or("site-settings.max_amount_cents", i64::MAX)?,
        })
    }
}
