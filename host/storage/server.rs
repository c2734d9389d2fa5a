//! What kind of server is at the other end: looked at once at start, to refuse what cannot work and to warn of
//! what will lose jobs.

use redis::cmd;

use super::fault::Fault;
use super::link::Link;

/// Oldest Redis that has what the scripts need.
const REDIS_MIN: (u32, u32) = (7, 0);
/// Oldest Valkey, a fork of Redis 7.2.
const VALKEY_MIN: (u32, u32) = (7, 2);

/// What a server said of itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// `redis` or `valkey`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Settings that can lose jobs, each as a sentence; empty on a good server.
    pub warnings: Vec<String>,
}

/// Asks the server; the inner error says why it cannot serve.
pub async fn examine(link: &Link) -> Result<Result<ServerInfo, String>, Fault> {
    let info: String = link.query(cmd("INFO").arg("server").arg("persistence").arg("memory")).await?;
    let field = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|v| v.trim().to_owned());
        info.lines().find_map(value)
    };
    let (kind, version, least) = match field("valkey_version") {
        Some(version) => ("valkey", version, VALKEY_MIN),
        None => ("redis", field("redis_version").unwrap_or_default(), REDIS_MIN),
    };
    if number(&version) < least {
        let (major, minor) = least;
        return Ok(Err(format!("{kind} {version} is too old: {kind} {major}.{minor} or newer is needed")));
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
    let saves: Option<Vec<(String, String)>> = link.query(&saves).await.ok();
    let never_saves = saves.is_some_and(|s| s.iter().all(|(_, rule)| rule.is_empty()));
    if field("aof_enabled").as_deref() == Some("0") && never_saves {
        warnings
            .push("persistence is off: a restart of Redis loses every job; set `appendonly yes`".to_owned());
    }
    Ok(Ok(ServerInfo { kind: kind.to_owned(), version, warnings }))
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
