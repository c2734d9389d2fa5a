//! Lists that the runs of a host popped from. `take` notes each in what is known about the host, for whoever takes back
//! its records after its death; with the last record of a list its note goes.

use super::key::{QueueKeys, host_info};
use super::lease::Leases;
use super::name::{HostId, QueueName};
use super::script;
use crate::storage::fault::Fault;

/// In what is known about a host, before the name of a list that its runs popped from.
const POPPED: &str = "pop:";
/// Lists that one command is about.
const PAGE: usize = 1000;

impl Leases {
    /// The lists, beside the queues it serves, of which `host` has records of popped entries. Notes that are there
    /// without a record go: hosts of former versions left one for every list.
    pub async fn popped_from(&self, host: &HostId) -> Result<Vec<QueueName>, Fault> {
        let about = host_info(host.as_str());
        let (mut found, mut cursor) = (Vec::new(), 0);
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(&about).arg(cursor).arg("MATCH").arg(format!("{POPPED}*")).arg("COUNT").arg(PAGE);
            let (next, notes): (u64, Vec<Vec<u8>>) = self.link.query(&scan).await?;
            let names = notes.iter().step_by(2).filter_map(|field| field.strip_prefix(POPPED.as_bytes()));
            let lists: Vec<QueueName> = names
                .filter_map(|name| QueueName::new(String::from_utf8_lossy(name).into_owned()).ok())
                .collect();
            for some in lists.chunks(PAGE) {
                found.extend(self.with_records(host, &about, some).await?);
            }
            if next == 0 {
                // A walk over a hash can meet a field twice.
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
