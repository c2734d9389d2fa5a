//! Records under ids that are not registered, because somebody deleted the registry of hosts or restored a part of
//! it. No host takes back or counts such jobs, so one host at a time scans the whole database for them.

use std::time::Duration;

use super::key::{HOSTS, QueueKeys, SEARCHED, host_info};
use super::name::{HostId, QUEUE_NAME_BYTES_MAX, QueueName};
use super::pace::Pace;
use super::script;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Time between two searches of the fleet.
pub const SEARCH_EVERY: Duration = Duration::from_secs(3600);
/// A host that starts searches, unless another one began to within this time.
const SEARCHED_RECENTLY: Duration = Duration::from_secs(60);
/// Keys that one step of the scan reads: some hundreds of microseconds of Redis' time.
const STEP_KEYS: u32 = 1000;
/// Longest name of a hash of records: a queue, a host, and the text between them.
const KEY_BYTES_MAX: usize = QUEUE_NAME_BYTES_MAX + 256;
/// The pattern of all hashes of records; the stars are the queue's name and the host.
const PATTERN: &str = "*:sandhog:inflight:*";
/// What precedes the host in the name of such a key.
const MARK: &str = ":sandhog:inflight:";

/// Whether this host is to search now. If so, no other host does for `SEARCH_EVERY`. A host that is `starting` does
/// not wait for that time, so that the jobs lost with its former life are found soon.
pub async fn is_our_turn(link: &Link, starting: bool) -> Result<bool, Fault> {
    let every = u64::try_from(SEARCH_EVERY.as_millis()).unwrap_or(u64::MAX);
    let mut begin = redis::cmd("SET");
    begin.arg(SEARCHED).arg("1").arg("PX").arg(every);
    if starting {
        let left: i64 = link.query(redis::cmd("PTTL").arg(SEARCHED)).await?;
        let recent = (SEARCH_EVERY - SEARCHED_RECENTLY).as_millis();
        if u128::try_from(left).is_ok_and(|left| left > recent) {
            return Ok(false);
        }
    } else {
        begin.arg("NX");
    }
    Ok(link.query::<Option<String>>(&begin).await?.is_some())
}

/// Scans the database and registers ids that have records and are not registered, each with a `lease` from now. A
/// live host renews its lease; the jobs of a dead one are taken back when its lease ends. Returns the ids.
pub async fn search(link: &Link, lease: Duration) -> Result<Vec<HostId>, Fault> {
    let mut found = Vec::new();
    let mut pace = Pace::default();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = script::SEARCH.call::<&str>(&[]);
        scan.arg(&cursor).arg(PATTERN).arg(STEP_KEYS).arg(KEY_BYTES_MAX);
        let keys: Vec<Vec<u8>> = pace.page(script::SEARCH.run(link, &scan)).await?;
        let mut keys = keys.into_iter();
        let next = String::from_utf8_lossy(&keys.next().unwrap_or_default()).into_owned();
        for (queue, host) in keys.filter_map(|key| read_key(&key)) {
            if readmit(link, &queue, &host, lease).await? {
                tracing::warn!(
                    host = host.as_str(),
                    queue = queue.as_str(),
                    "found jobs in flight under an id that is not registered; a host reclaims them when its lease ends"
                );
                found.push(host);
            }
        }
        if next.is_empty() || next == "0" {
            return Ok(found);
        }
        cursor = next;
    }
}

/// Registers an id that has records in `queue`; false if it is registered already.
async fn readmit(link: &Link, queue: &QueueName, host: &HostId, lease: Duration) -> Result<bool, Fault> {
    let about = host_info(host.as_str());
    let inflight = QueueKeys::new(queue).inflight(host);
    let mut call = script::READMIT.call(&[HOSTS, &about, &inflight]);
    call.arg(host.as_str()).arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)).arg(queue.as_str());
    script::READMIT.run(link, &call).await
}

/// The queue and the host in the name of a hash of records; none if the key has another name.
fn read_key(key: &[u8]) -> Option<(QueueName, HostId)> {
    let key = std::str::from_utf8(key).ok()?;
    let (queue, host) = key.rsplit_once(MARK)?;
    let host = HostId::parse(host)?;
    let bare = queue.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let names = [bare, Some(queue)].into_iter().flatten();
    let mut queues = names.filter_map(|name| QueueName::new(name).ok());
    let queue = queues.find(|queue| QueueKeys::new(queue).inflight(&host) == key)?;
    Some((queue, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_hash_of_records_tells_its_queue_and_its_host() {
        let host = HostId::new("web.1", 7, 1_700_000_000_000).unwrap();
        for name in ["orders", "eu{7}orders", "a{}b", "open{only", "a:b", "ключ"] {
            let queue = QueueName::new(name).unwrap();
            let key = QueueKeys::new(&queue).inflight(&host);
            assert_eq!(read_key(key.as_bytes()), Some((queue, host.clone())), "{key}");
        }
        for other in
            ["{q}:sandhog:inflight:nobody", "q:sandhog:inflight:web.1.00000007.018bcfe56800", "\u{1}"]
        {
            assert_eq!(read_key(other.as_bytes()), None, "{other}");
        }
    }
}
