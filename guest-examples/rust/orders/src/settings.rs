//! What this worker takes from the config reader `site-settings`, with defaults for a host that has none.

use crate::wasi::config::store;

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
    pub(crate) fn read() -> Result<Self, String> {
        let max = setting("site-settings.max_amount_cents")?;
        Ok(Self {
            greeting: setting("site-settings.greeting")?.unwrap_or_else(|| "hello".into()),
            currency: setting("site-settings.currency")?.unwrap_or_else(|| "EUR".into()),
            // The reader has checked that it is a number.
            max_amount_cents: max.and_then(|max| max.parse().ok()).unwrap_or(i64::MAX),
        })
    }
}

fn setting(name: &str) -> Result<Option<String>, String> {
    store::get(name).map_err(|error| format!("setting `{name}`: {error:?}"))
}
