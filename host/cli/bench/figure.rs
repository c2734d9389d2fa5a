//! Figures of the bench: percentiles, quotients, lines of a report, and what this process takes meanwhile, which is the
//! host's.

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use wasm_metadata::Producers;

use crate::cli::text;

/// Longest text about what a component was made with.
const WORDS_MAX: usize = 40;

/// A histogram of microseconds up to an hour.
pub(super) fn micros() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds and the precision are legal")
}

/// Percentiles in milliseconds.
pub(super) fn percentiles(histogram: &Histogram<u64>) -> Value {
    let ms = |quantile| round(micros_to_ms(histogram.value_at_quantile(quantile)));
    json!({
        "p50": ms(0.5), "p90": ms(0.9), "p95": ms(0.95), "p99": ms(0.99), "p999": ms(0.999), "max": round(micros_to_ms(histogram.max())),
    })
}

/// The same in words.
pub(super) fn percentiles_text(percentiles: &Value) -> String {
    let of = |name: &str| percentiles[name].as_f64().unwrap_or(0.0);
    format!("p50 {} ms, p90 {} ms, p99 {} ms, max {} ms", of("p50"), of("p90"), of("p99"), of("max"))
}

#[expect(clippy::cast_precision_loss, reason = "an hour in microseconds is far below 2^52")]
pub(super) fn micros_to_ms(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// Three decimals: the rest is noise.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// `amount` for each of `parts`.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub(super) fn per(amount: u64, parts: u64) -> f64 {
    round(amount as f64 / parts.max(1) as f64)
}

/// One line of a report.
pub(super) fn line(name: &str, value: &str) -> String {
    format!("\x1b[1m{name:<12}\x1b[0m{value}\n")
}

/// Memory of this process, which is the host's; 0 where the system does not tell.
pub(super) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time of this process, microseconds.
pub(super) fn processor_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or(0)
}

/// What a component says it was written in, or else made with.
pub(super) fn made_with(component: &[u8]) -> String {
    let producers = Producers::from_wasm(component).ok().flatten().unwrap_or_else(Producers::empty);
    let names = |field| -> Vec<String> {
        let names = producers.get(field);
        names.map(|names| names.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
    };
    let mut words = names("language");
    if words.is_empty() {
        words = names("processed-by");
        // Whatever the language, this one makes the component.
        words.retain(|tool| tool != "wit-component");
    }
    text::visible(words.join(", ").as_bytes(), WORDS_MAX)
}
