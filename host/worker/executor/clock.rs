//! Reads the processor time of another thread of this process from the kernel.

use std::fs;
use std::time::Duration;

/// The kernel's id of this thread; none if the kernel does not report it.
pub(super) fn own_thread() -> Option<u32> {
    fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// Processor time of a thread of this process, exact to a few milliseconds; none if the kernel does not report it.
pub(super) fn used(thread: u32) -> Option<Duration> {
    let told = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_busy_thread_uses_its_processor() {
        let Some(thread) = own_thread() else { return };
        let before = used(thread).unwrap();
        let begun = Instant::now();
        while used(thread).unwrap() < before + Duration::from_millis(10) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the thread gets no processor time");
        }
        assert_eq!(used(u32::MAX), None);
    }
}
