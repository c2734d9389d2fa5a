//! The bounds of one run (told in `capability::limits`), and the part of them the engine enforces: memory,
//! tables and instances.

use wasmtime::ResourceLimiter;

pub use crate::capability::limits::Limits;

/// Core instances in one component: interpreters have about 14, Python without WASI has 40. The engine keeps a record of
/// each.
pub(super) const INSTANCES_MAX: usize = 64;
/// Memories in one component.
pub(super) const MEMORIES_MAX: usize = 8;
/// Tables in one component.
pub(super) const TABLES_MAX: usize = 100;
/// Elements of all tables of one component together.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Watches one run's memory and remembers whether it asked for too much.
#[derive(Debug)]
pub(super) struct RunLimiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    has_grown: bool,
    refused: bool,
}

impl RunLimiter {
    pub(super) fn new(memory_bytes_max: u64) -> Self {
        let memory_bytes_max = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX);
        Self { memory_bytes_max, memory_bytes: 0, table_elements: 0, has_grown: false, refused: false }
    }

    /// Counts on for one more run in the same instance.
    pub(super) fn renew(&mut self) {
        self.refused = false;
    }

    /// Whether the run asked for more than it may have.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Whether a memory has grown, as it started or later; one that began with nothing aside.
    pub(super) fn has_grown(&self) -> bool {
        self.has_grown
    }

    /// Memory the run has; it never shrinks, so at the end this is the peak.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }
}

impl ResourceLimiter for RunLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.memory_bytes_max {
            self.refused = true;
            return Ok(false);
        }
        // Beyond a maximum the memory declares itself the growth fails without us.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.memory_bytes = total;
            self.has_grown |= current > 0;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > TABLE_ELEMENTS_MAX {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.table_elements = total;
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_share_one_bound() {
        let mut limiter = RunLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.has_grown(), "it has begun");
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(limiter.memory_growing(40, 50, Some(45)).is_ok_and(|_| limiter.refused()));
        assert_eq!(limiter.memory_bytes(), 100);
    }

    #[test]
    fn growth_beyond_a_declared_maximum_is_not_counted() {
        let mut limiter = RunLimiter::new(100);
        assert!(limiter.memory_growing(10, 50, Some(20)).unwrap());
        assert_eq!((limiter.memory_bytes(), limiter.refused(), limiter.has_grown()), (0, false, false));
        assert!(limiter.memory_growing(10, 15, Some(20)).unwrap() && limiter.has_grown());
    }
}
