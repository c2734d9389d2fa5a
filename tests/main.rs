//! Integration tests: a real Redis, real components, real processes.
