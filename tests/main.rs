//! Integration tests: a real Redis, real components, real processes.

// Hostile guests, one test per attack; what became of each run.
mod sandbox;
// What the tests start and look through.
mod support;
