//! `sandhog demo`: the guided tour. A host works off orders, its settings change, its handler is replaced, broken and
//! brought back, it is killed half way and comes back; then everything that was promised is counted in Redis. Succeeds
//! only if all of it held.
//!
//! The tour itself is in `demo/tour`, the orders in `demo/orders`, the host process in `demo/process`, the swaps in `demo/swap`, the
//! counting in `demo/count`, the promises in `demo/promise`.

mod count;
mod orders;
mod process;
mod promise;
mod swap;
mod tour;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::output::Output;
use crate::cli::private_redis::{PrivateRedis, Reach};
use orders::Orders;
use tour::Tour;

/// The plugins that the tour needs.
const NEEDED: [&str; 2] = ["orders", "site-settings"];

/// Shows what Sandhog promises, on a Redis of its own, and counts whether it held.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with the example plugins.
    #[arg(long, value_name = "DIR", default_value = "guest-examples/built")]
    plugins: PathBuf,
    /// Good orders to push.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    orders: u32,
}

/// Tells the tour step by step, with the time since its start.
pub(crate) struct Guide {
    out: Output,
    started: Instant,
}

impl Guide {
    /// Tells one step; nothing where a program reads.
    fn tell(&self, what: &str, text: &str) -> Outcome {
        if !self.out.is_json() {
            let time = self.started.elapsed().as_secs_f64();
            self.out.line(&format!("{time:5.1} s  \x1b[1m{what:<9}\x1b[0m {text}"))?;
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if context.global.redis.is_some() {
        return Err(Failure::refused("the demo starts a Redis of its own; leave `--redis` out"));
    }
    for name in NEEDED {
        if !args.plugins.join(format!("{name}.wasm")).is_file() {
            return Err(Failure::refused(format!(
                "there is no plugin `{name}` in `{}`",
                args.plugins.display()
            ))
            .with_hint("build the examples with `make guests`, or name their folder with `--plugins DIR`"));
        }
    }
    let plugins = args.plugins.canonicalize().context("cannot find the plugin folder").refuse()?;
    let guide = Guide { out: context.out, started: Instant::now() };
    let redis = PrivateRedis::start(Reach::Port).await?;
    let orders = Orders::new(args.orders);
    let mut tour = Tour::new(&guide, context, &redis, &plugins, &orders).await?;
    let seen = tour.take().await?;
    let counted = count::look(tour.link(), &orders).await?;
    let promises = promise::judge(&orders, &seen, &counted);
    let held = promises.iter().all(|promise| promise.held);
    let seconds = guide.started.elapsed().as_secs_f64();
    if context.out.is_json() {
        let promises: Vec<_> = promises.iter().map(promise::Promise::document).collect();
        context.out.document(&json!({
            "held": held, "seconds": (seconds * 10.0).round() / 10.0, "promises": promises,
            "dead": counted.dead,
        }))?;
    } else {
        context.out.text(&promise::report(&promises, &counted))?;
    }
    match promises.iter().find(|promise| !promise.held) {
        None => Ok(()),
        Some(broken) => {
            Err(Failure::failed(format!("a promise was not held: {}", broken.text))
                .with_details(tour.log_tail()))
        }
    }
}
