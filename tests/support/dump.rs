//! The whole database as text, to be compared: `list a, b`, `hash f=v`, `zset m@1`, `string v`, `set m`.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use redis::cmd;

/// Bytes as text, whatever they are.
pub fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// Every key and what it holds.
pub async fn dump(connection: &mut MultiplexedConnection) -> BTreeMap<String, String> {
    let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query_async(connection).await.unwrap();
    let mut all = BTreeMap::new();
    for key in keys {
        let kind: String = cmd("TYPE").arg(&key).query_async(connection).await.unwrap();
        let read: &[&str] = match kind.as_str() {
            "string" => &["GET"],
            "list" => &["LRANGE", "0", "-1"],
            "set" => &["SMEMBERS"],
            "hash" => &["HGETALL"],
            _ => &["ZRANGE", "0", "-1", "WITHSCORES"],
        };
        let mut command = cmd(read[0]);
        command.arg(&key).arg(&read[1..]);
        let parts: Vec<Vec<u8>> = match kind.as_str() {
            "string" => vec![command.query_async(connection).await.unwrap()],
            _ => command.query_async(connection).await.unwrap(),
        };
        let parts: Vec<String> = parts.iter().map(|part| text(part)).collect();
        let mut parts = match kind.as_str() {
            "hash" => parts.chunks(2).map(|pair| pair.join("=")).collect(),
            "zset" => parts.chunks(2).map(|pair| pair.join("@")).collect(),
            _ => parts,
        };
        if matches!(kind.as_str(), "hash" | "set") {
            parts.sort();
        }
        all.insert(text(&key), format!("{kind} {}", parts.join(", ")));
    }
    all
}

/// Writes Redis times as what they are: `T` for now, `T+60` for a minute later. A time is a run of 13 digits;
/// it counts as now within five seconds, and one further than a day away is left unchanged. A run of 16 digits that is
/// now in microseconds, as the start of a random owner text, becomes `U`.
pub fn without_times(dump: &str, now_ms: i64) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in dump.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let away_ms = digits.parse::<i64>().map_or(i64::MAX, |time| time.saturating_sub(now_ms));
        let away_us = digits.parse::<i64>().map_or(i64::MAX, |time| time.saturating_sub(now_ms * 1000));
        if digits.len() == 16 && away_us.abs() < 86_400_000_000 {
            out.push('U');
        } else if digits.len() == 13 && away_ms.abs() < 86_400_000 {
            match (away_ms as f64 / 10_000.0).round() as i64 * 10 {
                0 => out.push('T'),
                seconds => out.push_str(&format!("T{seconds:+}")),
            }
        } else {
            out.push_str(&digits);
        }
        digits.clear();
        out.push(c);
    }
    out.trim_end_matches('\0').to_owned()
}
