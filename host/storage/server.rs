//! What kind of server a link leads to, and what its user may do there. Checked once at start: refuses servers that
//! cannot work, and warns of settings that can lose jobs and of missing rights.

use std::collections::HashMap;

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::fault::Fault;
use super::link::Link;

/// Oldest Redis that has what the scripts need.
const REDIS_MIN: (u32, u32) = (7, 0);
/// Oldest Valkey, a fork of Redis 7.2.
const VALKEY_MIN: (u32, u32) = (7, 2);
/// An id that no connection has: killing it tests whether the user may end connections.
const NO_CONNECTION: i64 = i64::MAX;

/// What a server said of itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// `redis` or `valkey`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Settings that can lose jobs, and commands that the host does without, one sentence each; empty on a good
    /// server with a user that may do everything.
    pub warnings: Vec<String>,
    /// What a restart of the server loses, if it loses something.
    pub persistence: Option<String>,
}

/// What a server tells every user.
struct Greeting {
    kind: String,
    version: String,
    mode: String,
}

/// Asks the server what it is; the inner error says why it cannot be used.
pub async fn examine_mode(link: &Link) -> Result<Result<(), String>, Fault> {
    Ok(greet(link).await?.is_usable(link))
}

/// Asks the server; the inner error says why it cannot serve.
pub async fn examine(link: &Link) -> Result<Result<ServerInfo, String>, Fault> {
    let greeting = greet(link).await?;
    if let Err(reason) = greeting.is_usable(link) {
        return Ok(Err(reason));
    }
    let info = cmd("INFO").arg("server").arg("persistence").arg("memory").to_owned();
    let info = permitted::<String>(link, &info).await?;
    let field = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|v| v.trim().to_owned());
        info.as_deref().unwrap_or_default().lines().find_map(value)
    };
    let (kind, version) = match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => ("valkey".to_owned(), version),
        (None, Some(version)) => ("redis".to_owned(), version),
        (None, None) => (greeting.kind, greeting.version),
    };
    let least = if kind == "valkey" { VALKEY_MIN } else { REDIS_MIN };
    if let Err(reason) = is_new_enough(&kind, &version, least) {
        return Ok(Err(reason));
    }
    let mut warnings = Vec::new();
    if let Some(policy) = field("maxmemory_policy")
        && policy != "noeviction"
    {
        warnings.push(format!(
            "`maxmemory-policy` is `{policy}`: Redis may throw jobs away; set it to `noeviction`"
        ));
    }
    let saves = cmd("CONFIG").arg("GET").arg("save").to_owned();
    let saves: Option<Vec<(String, String)>> = permitted(link, &saves).await?;
    let never_saves = saves.as_ref().is_some_and(|s| s.iter().all(|(_, rule)| rule.is_empty()));
    let is_off = field("aof_enabled").as_deref() == Some("0") && never_saves;
    let persistence = is_off
        .then(|| "persistence is off: a restart of Redis loses every job; set `appendonly yes`".to_owned());
    if info.is_none() {
        warnings.push(without(
            "INFO",
            "the host does not check `maxmemory-policy` and persistence; `HELLO` told it the version",
        ));
    }
    if saves.is_none() {
        let instead = "the host does not check whether Redis takes snapshots, and pops at most 4 jobs of a list at once";
        warnings.push(without("CONFIG GET", instead));
    }
    warnings.extend(missing_rights(link).await?);
    Ok(Ok(ServerInfo { kind, version, warnings, persistence }))
}

/// Whether `MEMORY USAGE` shows the cost of popping entries with the server's settings for lists; false if the server
/// refuses to answer.
pub(super) async fn has_small_nodes(link: &Link) -> Result<bool, Fault> {
    let question =
        cmd("CONFIG").arg("GET").arg("list-compress-depth").arg("list-max-listpack-size").to_owned();
    let settings: HashMap<String, String> = match link.query(&question).await {
        Err(fault @ Fault::Refused { .. }) if !fault.is_state_of_server() => {
            tracing::debug!(%fault, "Redis does not report its settings for lists");
            return Ok(false);
        }
        answer => answer?,
    };
    let setting = |name: &str| settings.get(name).and_then(|value| value.parse::<i64>().ok());
    // -1 and -2: nodes of 4 and 8 KiB. A positive number is the number of entries; such a node also has at most 8 KiB.
    let is_small = |size: i64| size > 0 || size == -1 || size == -2;
    Ok(setting("list-compress-depth") == Some(0) && setting("list-max-listpack-size").is_some_and(is_small))
}

/// What the host does without because its user lacks rights, one sentence each.
async fn missing_rights(link: &Link) -> Result<Vec<String>, Fault> {
    let mut missing = Vec::new();
    if !link.connect().await? {
        let instead = "the host polls idle queues 10 times a second; Redis does not notify it of new jobs";
        missing.push(without("CLIENT TRACKING", instead));
    }
    let kill = cmd("CLIENT").arg("KILL").arg("ID").arg(NO_CONNECTION).to_owned();
    if permitted::<Value>(link, &kill).await?.is_none() {
        let instead = "after a reconnect the host cannot end its former connection, and claims that were sent over it \
                       may be carried out late";
        missing.push(without("CLIENT KILL", instead));
    }
    let load = cmd("SCRIPT").arg("LOAD").arg("#!lua\nreturn 0").to_owned();
    if permitted::<Value>(link, &load).await?.is_none() {
        missing.push(without("SCRIPT LOAD", "the host loads its scripts with `EVAL_RO`"));
    }
    Ok(missing)
}

fn without(command: &str, instead: &str) -> String {
    format!(
        "Redis refuses `{command}` to this user: {instead}; `sandhog acl --host` prints the rights of a host"
    )
}

/// The reply; none if this user may not ask, or the server does not know the command.
async fn permitted<T: FromRedisValue>(link: &Link, question: &Cmd) -> Result<Option<T>, Fault> {
    match link.query(question).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Fault::Refused { code, detail })
            if code == "NOPERM" || code == "ERR" && detail.contains("unknown command") =>
        {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

async fn greet(link: &Link) -> Result<Greeting, Fault> {
    let told: HashMap<String, Value> = link.query(&cmd("HELLO")).await?;
    let text = |name: &str| match told.get(name) {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => String::new(),
    };
    Ok(Greeting { kind: text("server"), version: text("version"), mode: text("mode") })
}

impl Greeting {
    fn is_usable(&self, link: &Link) -> Result<(), String> {
        let address = link.address();
        match self.mode.as_str() {
            "cluster" => Err(format!(
                "`{address}` is a Redis Cluster, and Redis Cluster is not supported; use a server with `cluster-enabled no`"
            )),
            "sentinel" => Err(format!(
                "`{address}` is a Redis Sentinel, which holds no data; use the address of the primary that it watches"
            )),
            _ if self.version.is_empty() => Ok(()),
            // An older server does not know the commands that follow. Valkey may report Redis' version here.
            _ => is_new_enough(&self.kind, &self.version, REDIS_MIN),
        }
    }
}

fn is_new_enough(kind: &str, version: &str, least: (u32, u32)) -> Result<(), String> {
    let (major, minor) = least;
    match number(version) < least {
        true => Err(format!("{kind} {version} is too old: {kind} {major}.{minor} or newer is needed")),
        false => Ok(()),
    }
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named_with_its_version() {
        let judge = |kind, version, least| is_new_enough(kind, version, least).err();
        assert_eq!(
            judge("redis", "6.2.14", REDIS_MIN).as_deref(),
            Some("redis 6.2.14 is too old: redis 7.0 or newer is needed")
        );
        assert_eq!(judge("redis", "7.0.0", REDIS_MIN), None);
        assert_eq!(judge("redis", "10.1.0", REDIS_MIN), None);
        assert!(judge("valkey", "7.0.9", VALKEY_MIN).is_some());
    }
}
