//! What all versions of one plugin on a host share: how much they may say in the host's log, all their runs together,
//! how many bytes they may have in flight to Redis and back, how many bytes of their write rate they have reserved, and
//! how often the host denied a call. A canary shares the voice of the version that it is to replace.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::flow::Flow;
use super::write_rate::Credit;
use crate::storage::link::Link;

/// Lines a plugin may log each second, in the long run. As much as journald takes from a whole service.
pub const LINES_PER_SECOND: u32 = 500;
/// Bytes of text that these may have: some 11 GB a day at the very most.
pub const BYTES_PER_SECOND: u32 = 128 << 10;
/// Seconds of silence that can be saved up for a burst.
const BURST_S: f64 = 4.0;
/// How often what was dropped is told, and how often something may be complained about.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// One plugin's voice on this host.
#[derive(Debug)]
pub struct Voice {
    plugin: String,
    bucket: Mutex<Bucket>,
    complained_at: Mutex<Option<Instant>>,
    denied: AtomicU64,
    pub(super) flow: Flow,
    pub(super) credit: Credit,
}

/// What may be said, filled up as time goes by.
#[derive(Debug)]
struct Bucket {
    lines: f64,
    bytes: f64,
    at: Instant,
    dropped: Dropped,
    told_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dropped {
    lines: u64,
    bytes: u64,
}

impl Voice {
    /// A voice that has said nothing yet.
    pub fn new(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            bucket: Mutex::new(Bucket::new(Instant::now())),
            complained_at: Mutex::new(None),
            denied: AtomicU64::new(0),
            flow: Flow::new(),
            credit: Credit::default(),
        }
    }

    /// Whether a line of so many bytes may be logged. Those that may not are counted, and told once a second.
    pub fn may_say(&self, version: &str, bytes: usize) -> bool {
        let now = Instant::now();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let may = bucket.take(now, bytes);
        let dropped = bucket.due(now);
        drop(bucket);
        if let Some(dropped) = dropped {
            self.tell(version, dropped);
        }
        may
    }

    /// From now on, the host enforces the plugin's `limits.write_rate`, over this connection of the host.
    pub fn keep_write_rate(&self, link: &Link) {
        self.credit.keep_over(link);
    }

    /// Whether a complaint may be logged: once a second, whatever it is about.
    pub fn may_complain(&self) -> bool {
        let now = Instant::now();
        let mut last = self.complained_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= TELL_EVERY);
        if may {
            *last = Some(now);
        }
        may
    }

    /// Counts a call that no grant covers.
    pub(super) fn deny(&self) {
        self.denied.fetch_add(1, Relaxed);
    }

    /// Calls that no grant covers, since the plugin was loaded.
    pub fn denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    fn tell(&self, version: &str, Dropped { lines, bytes }: Dropped) {
        let (plugin, kib) = (&self.plugin, BYTES_PER_SECOND >> 10);
        tracing::warn!(
            target: "guest", %plugin, %version,
            "dropped {lines} lines ({bytes} bytes) of log: a plugin may log {LINES_PER_SECOND} lines and {kib} KiB a \
             second"
        );
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let bucket = self.bucket.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(&mut bucket.dropped);
        if rest != Dropped::default() {
            self.tell("", rest);
        }
    }
}

impl Bucket {
    fn new(now: Instant) -> Self {
        let lines = f64::from(LINES_PER_SECOND) * BURST_S;
        let bytes = f64::from(BYTES_PER_SECOND) * BURST_S;
        Self { lines, bytes, at: now, dropped: Dropped::default(), told_at: None }
    }

    /// Takes a line out, if it is in there.
    fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let gone_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let fill = |level: f64, per_second: u32| {
            let per_second = f64::from(per_second);
            (level + gone_s * per_second).min(per_second * BURST_S)
        };
        self.lines = fill(self.lines, LINES_PER_SECOND);
        self.bytes = fill(self.bytes, BYTES_PER_SECOND);
        let wanted = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.lines < 1.0 || self.bytes < wanted {
            self.dropped.lines += 1;
            self.dropped.bytes += bytes as u64;
            return false;
        }
        self.lines -= 1.0;
        self.bytes -= wanted;
        true
    }

    /// What is to be told now of what was dropped.
    fn due(&mut self, now: Instant) -> Option<Dropped> {
        let is_due = self.told_at.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if self.dropped == Dropped::default() || !is_due {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_says_so_much_a_second_and_what_it_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let said = |bucket: &mut Bucket, at: Duration, bytes: usize| {
            (0..100_000).filter(|_| bucket.take(start + at, bytes)).count()
        };
        assert_eq!(said(&mut bucket, Duration::ZERO, 10), 2000, "the burst");
        assert_eq!(said(&mut bucket, Duration::from_secs(1), 10), 500);
        assert_eq!(said(&mut bucket, Duration::from_secs(3600), 10), 2000, "no more is saved up");
        assert_eq!(said(&mut bucket, Duration::from_secs(7200), 8 << 10), 64, "long lines by their bytes");
        assert_eq!(said(&mut bucket, Duration::from_secs(7201), 8 << 10), 16);
    }

    #[test]
    fn what_was_dropped_is_told_once_a_second_and_none_of_it_twice() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.due(start), None);
        let flood =
            |bucket: &mut Bucket, lines: usize| (0..lines).for_each(|_| assert!(!bucket.take(start, 1)));
        assert_eq!((0..2000).filter(|_| bucket.take(start, 1)).count(), 2000);
        flood(&mut bucket, 1);
        assert_eq!(bucket.due(start), Some(Dropped { lines: 1, bytes: 1 }));
        flood(&mut bucket, 10);
        assert_eq!(bucket.due(start + Duration::from_millis(999)), None);
        assert_eq!(bucket.due(start + Duration::from_secs(1)), Some(Dropped { lines: 10, bytes: 10 }));
        assert_eq!(bucket.due(start + Duration::from_secs(2)), None);
    }

    #[test]
    fn a_complaint_a_second() {
        let voice = Voice::new("p");
        assert!(voice.may_complain());
        assert!(!voice.may_complain());
    }
}
