//! What Redis did between two looks at it, by its own account.

use redis::cmd;
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;
use serde_json::{Value, json};

use super::{line, per, round};

/// Redis' counters at one moment, or what was added to them between two.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Processor time of all its threads, microseconds.
    pub(super) cpu_us: u64,
    /// Commands it carried out, those inside scripts too.
    pub(super) commands: u64,
    /// Calls of scripts: each is one command on the wire.
    pub(super) scripts: u64,
    /// Bytes it read from the network.
    pub(super) in_bytes: u64,
    /// Bytes it wrote to the network.
    pub(super) out_bytes: u64,
}

impl Load {
    /// Looks at the counters.
    pub(super) async fn look(link: &Link) -> Result<Self, Fault> {
        let info: String = link.query(cmd("INFO").arg("cpu").arg("stats").arg("commandstats")).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name: &str| field(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
        let seconds =
            |name: &str| field(name).and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0);
        let scripts = ["cmdstat_evalsha", "cmdstat_eval"].map(|name| {
            let calls = field(name).and_then(|value| value.strip_prefix("calls=")?.split(',').next());
            calls.and_then(|calls| calls.parse::<u64>().ok()).unwrap_or(0)
        });
        let cpu_s = seconds("used_cpu_user") + seconds("used_cpu_sys");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time is not negative")]
        let cpu_us = (cpu_s * 1e6) as u64;
        Ok(Self {
            cpu_us,
            commands: number("total_commands_processed"),
            scripts: scripts.iter().sum(),
            in_bytes: number("total_net_input_bytes"),
            out_bytes: number("total_net_output_bytes"),
        })
    }

    /// What was added since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            commands: self.commands.saturating_sub(before.commands),
            scripts: self.scripts.saturating_sub(before.scripts),
            in_bytes: self.in_bytes.saturating_sub(before.in_bytes),
            out_bytes: self.out_bytes.saturating_sub(before.out_bytes),
        }
    }

    /// Adds the figures per job to a document.
    pub(super) fn add_to(self, document: &mut Value, jobs: u64) {
        document["redis_cpu_us_per_job"] = json!(per(self.cpu_us, jobs));
        document["commands_per_job"] = json!(per(self.commands, jobs));
        document["script_calls_per_job"] = json!(round(per(self.scripts, jobs)));
        document["bytes_in_per_job"] = json!(per(self.in_bytes, jobs));
        document["bytes_out_per_job"] = json!(per(self.out_bytes, jobs));
    }

    /// The figures per job of a document, in words.
    pub(super) fn text(document: &Value) -> String {
        let of = |name: &str| document[name].as_f64().unwrap_or(0.0);
        let (cpu, commands, scripts) =
            (of("redis_cpu_us_per_job"), of("commands_per_job"), of("script_calls_per_job"));
        line("redis", &format!("{cpu} µs of processor, {commands} commands, {scripts} script calls per job"))
            + &line(
                "network",
                &format!(
                    "{} bytes in, {} bytes out per job",
                    of("bytes_in_per_job"),
                    of("bytes_out_per_job")
                ),
            )
    }
}
