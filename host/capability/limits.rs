//! How much one run may use. The operator writes these bounds in the manifest, `plugin` reads them from there.

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            kv_calls: 10_000,
            value_bytes: 8 << 20,
            effects: 1_000,
            log_bytes: 64 << 10,
        }
    }
}
