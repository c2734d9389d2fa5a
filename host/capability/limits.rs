//! How much one run may use, and how much all runs may write. The operator sets these bounds in the manifest; `plugin`
//! reads them there.

use super::write_rate::WriteRate;

/// What a guest may hand over in one call besides values: 1,000 names of 1,024 bytes, and what lists of them take.
pub const CALL_NAMES_BYTES: u64 = 2 << 20;

/// Bounds of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of the guest, all its memories together.
    pub memory_bytes: u64,
    /// Calls of `kv` and `queue` together.
    pub kv_calls: u64,
    /// Largest value or payload in or out, and all values of one answer together.
    pub value_bytes: u64,
    /// Keys and entries written, moved or deleted.
    pub effects: u64,
    /// Text in the host's log.
    pub log_bytes: u64,
    /// Bytes that all runs of the plugin may write per time, on all hosts together; none: no bound.
    pub write_rate: Option<WriteRate>,
}

impl Limits {
    /// Most bytes that the host copies out of a guest for one call. A value of up to twice `limits.value` is looked at,
    /// so that it is refused with an error value; more is taken for an attack and ends the run. What is copied never
    /// exceeds by much what the guest has in memory, but for lists whose elements overlap.
    pub fn call_bytes_max(&self) -> u64 {
        let values = self.value_bytes.saturating_mul(2);
        values.min(self.memory_bytes).saturating_add(CALL_NAMES_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            kv_calls: 10_000,
            // The default of other queues' largest messages (Kafka, NATS, SQS). An answer of 8 MiB holds up Redis for
            // milliseconds, and with it everybody.
            value_bytes: 1 << 20,
            effects: 1_000,
            log_bytes: 64 << 10,
            write_rate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_hands_over_what_values_and_memory_allow() {
        const MIB: u64 = 1 << 20;
        for (value_bytes, memory_bytes, expected) in
            [(8 * MIB, 64 * MIB, 18 * MIB), (8 * MIB, MIB, 3 * MIB), (u64::MAX, u64::MAX, u64::MAX)]
        {
            let limits = Limits { value_bytes, memory_bytes, ..Limits::default() };
            assert_eq!(limits.call_bytes_max(), expected);
        }
    }
}
