//! Lists that the runs of a host popped from. `take` notes each of them in the hash about the host, for the host that
//! takes its records back after its death. The note is deleted with the last record of its list.

use redis::Value;

use super::key::{QueueKeys, host_info};
use super::lease::Leases;
use super::name::{HostId, QUEUE_NAME_BYTES_MAX, QueueName};
use super::reply::{Fields, text};
use super::script;
use crate::storage::fault::Fault;

/// What a field of the hash about a host begins with if it names a list that its runs popped from.
const POPPED: &str = "pop:";
/// Lists in one command.
const PAGE: usize = 1000;

impl Leases {
    /// The lists of which `host` has records of popped entries, beside the queues it serves. Notes without a record
    /// are deleted: hosts of former versions left one for every list.
    pub async fn popped_from(&self, host: &HostId) -> Result<Vec<QueueName>, Fault> {
        let about = host_info(host.as_str());
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut scan = script::FIELD_NAMES.call(&[&about]);
            scan.arg(&cursor).arg(format!("{POPPED}*")).arg(PAGE).arg(POPPED.len() + QUEUE_NAME_BYTES_MAX);
            let mut page = Fields::new(script::FIELD_NAMES.run::<Value>(&self.link, &scan).await?)?;
            let next = page.text()?;
            let mut lists = Vec::new();
            while let name @ Value::BulkString(_) = page.next() {
                let name = text(name)?;
                lists.extend(name.strip_prefix(POPPED).and_then(|name| QueueName::new(name).ok()));
            }
            for some in lists.chunks(PAGE) {
                found.extend(self.with_records(host, &about, some).await?);
            }
            if next == "0" {
                // HSCAN may return a field twice.
                found.sort_unstable();
                found.dedup();
                return Ok(found);
            }
            cursor = next;
        }
    }

    async fn with_records(
        &self,
        host: &HostId,
        about: &str,
        lists: &[QueueName],
    ) -> Result<Vec<QueueName>, Fault> {
        let mut keys = vec![about.to_owned()];
        keys.extend(lists.iter().map(|list| QueueKeys::new(list).inflight(host)));
        let mut call = script::POPPED.call(&keys);
        for list in lists {
            call.arg(list.as_str());
        }
        let left: Vec<usize> = script::POPPED.run(&self.link, &call).await?;
        Ok(left.into_iter().filter_map(|nth| lists.get(nth.checked_sub(1)?).cloned()).collect())
    }
}
