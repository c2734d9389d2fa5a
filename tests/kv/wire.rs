//! Every call of `kv` and `queue` from a real guest: the wiring between the contract and the host.
