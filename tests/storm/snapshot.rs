//! What there is in Redis: the ledger's keys, read at once, and where jobs still are.

use std::collections::BTreeMap;

use redis::{RedisResult, Value, cmd};

use super::server::Server;
use super::twins;

/// Places that hold jobs or entries somebody works on, as `<key> <count>` lines.
const BUSY: &str = r"
local busy = {}
local function add(key, count) if count > 0 then busy[#busy + 1] = key .. ' ' .. count end end
for _, list in ipairs({'ledger', 'ledger-follow', 'twins'}) do add(list, redis.call('LLEN', list)) end
for _, key in ipairs(redis.call('KEYS', '*:sandhog:*')) do
  if key:find(':ready$') or key:find(':sandhog:parked:') then add(key, redis.call('LLEN', key))
  elseif key:find(':delayed$') then add(key, redis.call('ZCARD', key))
  elseif key:find(':sandhog:inflight:') then add(key, redis.call('HLEN', key))
  end
end
return busy";

/// The ledger's keys.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// `ledger:balance`.
    pub balance: i64,
    /// By job id.
    pub markers: BTreeMap<String, String>,
    /// Markers without an expiry.
    pub eternal: Vec<String>,
    /// Notes of jobs that have not taken them down.
    pub todos: Vec<String>,
    /// `seq:<k>` and `swap:<k>`.
    pub sequences: BTreeMap<String, u64>,
    /// Entries of `ledger-receipts`.
    pub receipts: Vec<String>,
    /// Entries of `ledger-audit`.
    pub audit: Vec<String>,
    /// Ids of followers that have run.
    pub followed: Vec<String>,
    /// Entries of `ledger-follow-receipts`.
    pub follow_receipts: Vec<String>,
    /// Entries of `ledger-tickets`.
    pub tickets: Vec<String>,
    /// What the worker says must never be.
    pub violations: Vec<String>,
    /// What the equal jobs have left.
    pub twins: Vec<String>,
    /// Dead jobs of all queues.
    pub dead: u64,
    /// Unique keys of jobs of the ledger.
    pub unique: Vec<String>,
    /// Keys that nobody should have written.
    pub strangers: Vec<String>,
}

/// Where jobs or entries still are; nothing when all is settled.
pub async fn busy(server: &mut Server) -> RedisResult<Vec<String>> {
    server.ask(cmd("EVAL").arg(BUSY).arg(0)).await
}

/// Reads everything.
pub async fn read(server: &mut Server) -> RedisResult<Snapshot> {
    let mut found = Snapshot::default();
    let keys: Vec<String> = server.ask(cmd("KEYS").arg("*")).await?;
    let (mut markers, mut sequences) = (Vec::new(), Vec::new());
    for key in keys {
        let (name, rest) = key.split_once(':').unwrap_or((&key, ""));
        match (name, rest.split_once(':')) {
            ("ledger", Some(("marker", _))) => markers.push(key),
            ("ledger", Some(("todo", id))) => found.todos.push(id.to_owned()),
            ("ledger", Some(("seq" | "swap", _))) => sequences.push(key),
            ("ledger", Some(("followed", id))) => found.followed.push(id.to_owned()),
            ("{ledger}" | "{ledger-follow}" | "{twins}", Some(("sandhog", "dead"))) => {
                found.dead += server.ask::<u64>(cmd("ZCARD").arg(&key)).await?;
            }
            ("{ledger}" | "{ledger-follow}" | "{twins}", Some(("sandhog", what))) if may_remain(what) => {}
            ("{ledger}", Some(("sandhog", what))) if what.starts_with("unique:") => found.unique.push(key),
            ("sandhog", _) => {}
            ("ledger", None) if rest == "balance" => {}
            ("ledger-receipts" | "ledger-audit" | "ledger-follow-receipts" | "ledger-tickets", None) => {}
            ("ledger-violations" | twins::RECEIPTS | twins::CALLS, None) => {}
            _ => found.strangers.push(key),
        }
    }
    found.balance = server.ask::<Option<i64>>(cmd("GET").arg("ledger:balance")).await?.unwrap_or(0);
    for (key, value) in markers.iter().zip(values(server, &markers).await?) {
        found.markers.insert(key.trim_start_matches("ledger:marker:").to_owned(), value);
    }
    for (key, value) in sequences.iter().zip(values(server, &sequences).await?) {
        found
            .sequences
            .insert(key.trim_start_matches("ledger:").to_owned(), value.parse().unwrap_or(u64::MAX));
    }
    found.eternal = eternal(server, &markers).await?;
    let mut list = async |key: &str| server.ask(cmd("LRANGE").arg(key).arg(0).arg(-1)).await;
    found.receipts = list("ledger-receipts").await?;
    found.audit = list("ledger-audit").await?;
    found.follow_receipts = list("ledger-follow-receipts").await?;
    found.tickets = list("ledger-tickets").await?;
    found.violations = list("ledger-violations").await?;
    found.twins = list(twins::RECEIPTS).await?;
    Ok(found)
}

/// Whether this companion key may remain in a queue without jobs: counters and the state of limits.
fn may_remain(what: &str) -> bool {
    ["stats", "rate", "vacant", "places", "audit"].contains(&what) || what.starts_with("rate:")
}

/// Clears away what a round has left and the next one does not need.
pub async fn clear(server: &mut Server) {
    let keys: Vec<String> = server.surely(cmd("KEYS").arg("*")).await;
    let gone = |key: &String| {
        ["ledger:marker:", "ledger:followed:", "ledger:todo:", "{ledger}:sandhog:unique:"]
            .iter()
            .any(|prefix| key.starts_with(prefix))
            || ["ledger-receipts", "ledger-audit", "ledger-follow-receipts", twins::RECEIPTS, twins::CALLS]
                .contains(&key.as_str())
    };
    let keys: Vec<String> = keys.into_iter().filter(gone).collect();
    if !keys.is_empty() {
        let _: u64 = server.surely(cmd("DEL").arg(keys)).await;
    }
}

async fn values(server: &mut Server, keys: &[String]) -> RedisResult<Vec<String>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Option<String>> = server.ask(cmd("MGET").arg(keys)).await?;
    Ok(values.into_iter().map(Option::unwrap_or_default).collect())
}

async fn eternal(server: &mut Server, keys: &[String]) -> RedisResult<Vec<String>> {
    let mut pipe = redis::pipe();
    for key in keys {
        pipe.cmd("PTTL").arg(key);
    }
    let left: Vec<i64> = match keys {
        [] => Vec::new(),
        _ => redis::from_redis_value::<Vec<Value>>(server.transact(&mut pipe).await?)?
            .into_iter()
            .map(redis::from_redis_value)
            .collect::<Result<_, _>>()?,
    };
    Ok(keys.iter().zip(left).filter(|(_, left)| *left < 0).map(|(key, _)| key.clone()).collect())
}
