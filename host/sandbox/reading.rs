//! One run of a config reader: its settings, within the bounds of the contract, and what it read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::load::Version;
use super::outcome::{Outcome, tidy};
use super::profile::Entry;
use super::run::RunContext;
use crate::capability::view::{ReadSet, Usage};

/// Most settings a config reader can answer.
const SETTINGS_MAX: usize = 10_000;
/// Longest name of a setting in bytes.
const SETTING_NAME_BYTES_MAX: usize = 256;
/// All names and values together.
const SETTINGS_BYTES_MAX: usize = 1 << 20;

/// What a config reader answered.
#[derive(Debug, Clone)]
pub struct ConfigReport {
    /// The settings, or a short reason why there are none.
    pub settings: Result<BTreeMap<String, String>, String>,
    /// What it read; when any of it changes, the answer may.
    pub reads: ReadSet,
    /// How long its instance took to start.
    pub instantiate: Duration,
    /// Calls and denials.
    pub usage: Usage,
    /// Most memory the guest had.
    pub memory_peak_bytes: u64,
}

impl Version {
    /// Asks a config reader for its settings.
    pub async fn read_config(&self, context: &RunContext) -> ConfigReport {
        let code = self.code();
        let Entry::Reader(reader) = &code.entry else {
            return ConfigReport {
                settings: Err("a worker has no settings".to_owned()),
                reads: ReadSet::default(),
                instantiate: Duration::ZERO,
                usage: Usage::default(),
                memory_peak_bytes: 0,
            };
        };
        let _running = code.core.ticker.enter();
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut store =
            self.store(&code.core, Some((context.link.clone(), &context.plan)), &context.settings, "config");
        let ended = timeout(context.timeout, async {
            let instance = reader.instantiate_async(&mut store).await?;
            instantiate = begun.elapsed();
            instance.sandhog_worker_config_source().call_read(&mut store).await
        })
        .await;
        let settings = match ended {
            Ok(Ok(Ok(settings))) => check_settings(settings),
            Ok(Ok(Err(reason))) => Err(tidy(&reason)),
            Ok(Err(error)) => Err(self.broke(&error, &store).reason().into_owned()),
            Err(_) => Err(Outcome::TimedOut.reason().into_owned()),
        };
        let reads = store.data_mut().view.take_reads();
        let (usage, memory_peak_bytes) = (store.data().view.usage(), store.data().limiter.memory_bytes());
        let log = store.data().view.log().cloned();
        drop(store);
        log.map(|log| log.finish());
        ConfigReport { settings, reads, instantiate, usage, memory_peak_bytes }
    }
}

/// Passes settings within the bounds of the contract.
fn check_settings(settings: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    if settings.len() > SETTINGS_MAX {
        return Err(format!("{} settings; at most {SETTINGS_MAX} are allowed", settings.len()));
    }
    let bytes: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > SETTINGS_BYTES_MAX {
        return Err(format!("{bytes} bytes of settings; at most {SETTINGS_BYTES_MAX} are allowed"));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in settings {
        if name.is_empty() || name.len() > SETTING_NAME_BYTES_MAX {
            let found = name.len();
            return Err(format!(
                "a setting's name has {found} bytes; 1 to {SETTING_NAME_BYTES_MAX} are allowed"
            ));
        }
        if let Some(_earlier) = checked.insert(name.clone(), value) {
            return Err(format!("two settings are named `{}`", tidy(&name)));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_bounds_are_refused_whole() {
        let one = |name: String, value: String| check_settings(vec![(name, value)]);
        let pair = |name: &str| (name.to_owned(), String::new());
        let many = (0..=SETTINGS_MAX).map(|n| pair(&n.to_string())).collect();
        for (settings, expected) in [
            (check_settings(many), "10001 settings; at most 10000 are allowed"),
            (
                one("a".to_owned(), "x".repeat(1 << 20)),
                "1048577 bytes of settings; at most 1048576 are allowed",
            ),
            (one(String::new(), String::new()), "a setting's name has 0 bytes; 1 to 256 are allowed"),
            (one("x".repeat(257), String::new()), "a setting's name has 257 bytes; 1 to 256 are allowed"),
            (check_settings(vec![pair("b"), pair("a"), pair("b")]), "two settings are named `b`"),
        ] {
            assert_eq!(settings.unwrap_err(), expected);
        }
        assert_eq!(one("a".to_owned(), "1".to_owned()).unwrap().len(), 1);
    }
}
