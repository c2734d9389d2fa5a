//! The manifests of a storm's plugins: the ledger, with random limits, and the batch worker of the twins.

use super::twins;
use super::weather::Weather;

/// The header that contains the key of limits.
pub const KEY_HEADER: &str = "tenant";

/// The manifest of the ledger, with many attempts unless the storm is strict.
pub fn ledger(weather: &Weather, rng: &mut fastrand::Rng) -> String {
    let limits = if weather.mixed { limits(rng) } else { String::new() };
    let queue = |name: &str, concurrency: u32| {
        format!(
            "[[consume]]\nqueue = \"{name}\"\nconcurrency = {concurrency}\nmax_attempts = {}\ntimeout = \"1s\"\n\
             backoff = {{ base = \"10ms\", factor = 1.0, max = \"10ms\", jitter = 0.5 }}\n",
            weather.attempts,
        )
    };
    format!(
        "kind = \"worker\"\n{}{limits}{}[effects]\n{}\n\
         [grants]\nkv.read = [\"ledger:*\"]\nkv.write = [\"ledger:*\"]\n\
         queue.push = [\"ledger-*\"]\nqueue.pop = [\"ledger-tickets\"]\n\
         [limits]\nmemory = \"16MiB\"\n",
        queue("ledger", 16),
        queue("ledger-follow", 8),
        weather.effects,
    )
}

/// The manifest of the twins' worker.
pub fn twins(weather: &Weather) -> String {
    format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"{}\"\nconcurrency = 2\nmax_attempts = {}\ntimeout = \"1s\"\n\
         batch = {{ size = 8, wait = \"5ms\" }}\n\
         backoff = {{ base = \"10ms\", factor = 1.0, max = \"10ms\", jitter = 0.5 }}\n\
         [grants]\nqueue.push = [\"receipts\", \"calls\"]\n[limits]\nmemory = \"16MiB\"\n",
        twins::QUEUE,
        weather.attempts,
    )
}

/// Random limits of a queue, from none to all, wide enough for a round to end.
fn limits(rng: &mut fastrand::Rng) -> String {
    let mut lines = Vec::new();
    if rng.u32(..3) == 0 {
        lines.push(format!("fleet_concurrency = {}", rng.u32(4..20)));
    }
    if rng.u32(..3) == 0 {
        lines.push(format!("rate = \"{}/s\"", rng.u32(4..20) * 100));
    }
    // A key has no order if the queue is last in, first out.
    let lifo = rng.u32(..4) == 0;
    if lifo {
        lines.push("order = \"lifo\"".to_owned());
    }
    let by_key = lines.len();
    match rng.u32(..3) {
        0 if !lifo => lines.push("key_order = true".to_owned()),
        0 | 1 => lines.push(format!("key_concurrency = {}", rng.u32(1..4))),
        _ => {}
    }
    if rng.bool() {
        lines.push(format!("key_rate = \"{}/s\"", rng.u32(1..5) * 50));
    }
    if lines.len() > by_key {
        lines.push(format!("key = \"header:{KEY_HEADER}\""));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn whatever_limits_are_drawn_make_a_manifest() {
    use sandhog::config::settings::Ceilings;
    use sandhog::plugin::manifest::Manifest;

    let ceilings =
        Ceilings { memory_bytes: 64 << 20, value_bytes: 1 << 20, component_bytes: 64 << 20, instances: 64 };
    for seed in 0..500 {
        let weather = Weather::all(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        for text in [ledger(&weather, &mut rng), twins(&weather)] {
            if let Err(problems) = Manifest::parse("plugin.toml", &text, &ceilings) {
                panic!("seed {seed}: {problems}\n{text}");
            }
        }
    }
}
