//! Bounds the bytes that a plugin writes per time, on all hosts together. The token bucket is in Redis and fills with
//! Redis time. A host reserves portions of it in advance, so that not every call needs a round trip.

use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::refusal::Refusal;
use crate::job::key;
use crate::storage::fault::Fault;
use crate::storage::link::Link;
use crate::storage::script::Script;

/// Bytes that a key or an entry costs besides its name and value, so that empty ones cost something, too.
pub(super) const BYTES_EACH: usize = 64;
/// Part of a full bucket that a host reserves at once, and most bytes of it.
const PORTIONS: u64 = 16;
const PORTION_BYTES_MAX: u64 = 1 << 20;
/// Longest time for which a host assumes that the bucket is empty without asking Redis again, because the clocks
/// differ.
const BELIEVED_MAX: Duration = Duration::from_secs(1);

static WRITE_RATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/write_rate.lua")));

/// A token bucket of bytes: its size per time, and the whole size at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRate {
    /// The size of the bucket in bytes; at least one.
    pub bytes: u64,
    /// The time in which an empty bucket fills.
    pub per: Duration,
}

impl WriteRate {
    /// Bytes that a host reserves at once if the bucket has as many.
    fn portion(&self) -> u64 {
        (self.bytes / PORTIONS).min(PORTION_BYTES_MAX)
    }

    /// Microseconds in which the bucket gets one byte.
    fn gap_us(&self) -> f64 {
        self.per.as_secs_f64() * 1e6 / self.bytes as f64
    }
}

/// The bytes that this host has reserved for one plugin and the plugin has not spent yet.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// The host's own connection; none outside a host, which does not enforce a rate.
    link: OnceLock<Link>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// Until when the host does not ask Redis again for as many bytes as Redis refused last.
    refused: Option<(u64, Instant)>,
}

impl Credit {
    /// From now on, the host enforces the plugin's rate, over this connection of the host.
    pub(super) fn keep_over(&self, link: &Link) {
        self.link.get_or_init(|| link.clone());
    }

    /// Spends this number of bytes, or refuses the call. A call with more bytes than a full bucket spends a full
    /// bucket.
    pub(super) async fn pay(&self, plugin: &str, rate: WriteRate, bytes: u64) -> Result<(), Refusal> {
        let Some(link) = self.link.get() else { return Ok(()) };
        let wanted = bytes.min(rate.bytes);
        // Held during the request to Redis, so that simultaneous runs reserve one portion, not one each.
        let mut held = self.held.lock().await;
        if held.bytes < wanted {
            let now = Instant::now();
            if held.refused.is_some_and(|(least, until)| wanted >= least && now < until) {
                return Err(Refusal::Quota("write-rate"));
            }
            let missing = wanted - held.bytes;
            match take(link, plugin, rate, missing).await? {
                Ok(taken) => {
                    held.bytes = held.bytes.saturating_add(taken);
                    held.refused = None;
                }
                Err(wait) => {
                    held.refused = Some((wanted, now + wait.min(BELIEVED_MAX)));
                    return Err(Refusal::Quota("write-rate"));
                }
            }
        }
        held.bytes = held.bytes.saturating_sub(wanted);
        Ok(())
    }
}

/// Reserves at least these bytes in the bucket of the fleet. Returns how many, or how long until the bucket has them.
async fn take(
    link: &Link,
    plugin: &str,
    rate: WriteRate,
    bytes: u64,
) -> Result<Result<u64, Duration>, Refusal> {
    let mut call = WRITE_RATE.call(&[key::write_rate(plugin)]);
    call.arg(rate.gap_us()).arg(rate.bytes).arg(bytes).arg(rate.portion());
    let answer: i64 = WRITE_RATE.run(link, &call).await.map_err(Refusal::Unavailable)?;
    match u64::try_from(answer) {
        Ok(taken) if taken >= bytes => Ok(Ok(taken)),
        Ok(taken) => Err(Refusal::Unavailable(Fault::Unexpected(format!("{taken} bytes of {bytes}")))),
        Err(_) => Ok(Err(Duration::from_millis(answer.unsigned_abs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_takes_a_small_part_of_the_bucket_at_once() {
        let rate = |bytes| WriteRate { bytes, per: Duration::from_secs(1) };
        assert_eq!(rate(1).portion(), 0, "only what is wanted");
        assert_eq!(rate(16 << 10).portion(), 1 << 10);
        assert_eq!(rate(1 << 40).portion(), 1 << 20);
        assert!((rate(1_000_000).gap_us() - 1.0).abs() < 1e-9);
    }
}
