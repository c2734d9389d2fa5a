//! The names jobs, queues and hosts go by. Each is made by a function that refuses what could not be one;
//! what a name means in Redis is in `key`.

use std::fmt;

use super::key::is_other_in_braces;

/// Longest queue name in bytes. Redis takes more; a name is also part of every companion key and log line.
pub const QUEUE_NAME_BYTES_MAX: usize = 1024;
/// Longest host name in bytes: it is part of every job id this host gives.
pub const HOST_NAME_BYTES_MAX: usize = 64;
/// Latest start of a host, in 12 hexadecimal digits: the year 10889.
const EPOCH_MS_MAX: u64 = (1 << 48) - 1;
/// What marks a key as ours; no queue and no granted key may hold it.
pub const RESERVED: &str = ":sandhog:";
/// Keys that start with this hold what concerns the whole fleet.
pub const RESERVED_PREFIX: &str = "sandhog:";
/// Sequence numbers a host can give in one millisecond; more take those of the next one.
pub const SEQ_PER_MS: u64 = 512;

/// Why a name was refused: a finished sentence without the name itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub &'static str);

/// Whether a key or queue of this name belongs to Sandhog itself.
pub fn is_reserved(name: &str) -> bool {
    name.contains(RESERVED) || name.starts_with(RESERVED_PREFIX)
}

/// A queue: the key of a Redis list, as producers name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// Accepts 1 to 1,024 bytes that are not one of Sandhog's own keys, and whose companion keys no other queue has.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError("a queue name cannot be empty"));
        }
        if name.len() > QUEUE_NAME_BYTES_MAX {
            return Err(NameError("a queue name has at most 1,024 bytes"));
        }
        if is_reserved(&name) {
            return Err(NameError(
                "names with `:sandhog:` in them, or `sandhog:` before them, are the host's own",
            ));
        }
        if is_other_in_braces(&name) {
            return Err(NameError(
                "a queue cannot have the name of another queue in braces: both would use the same keys",
            ));
        }
        Ok(Self(name))
    }

    /// The name, which is also the key of the list.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of one host: `<name>.<seat>.<epoch>`.
///
/// The *seat* (8 hex digits) stands for a file lock on one machine: whoever holds it is the only living host of
/// that seat, so it may take back at once what an earlier epoch of the same seat left. The *epoch* (12 hex
/// digits) is the Redis time in milliseconds at which this life began, so it grows with every life.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(String);

impl HostId {
    /// The id of the life of `name` on `seat` that began at `epoch_ms`.
    pub fn new(name: &str, seat: u32, epoch_ms: u64) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > HOST_NAME_BYTES_MAX {
            return Err(NameError("a host name has 1 to 64 bytes"));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-';
        if !name.bytes().all(fits) {
            return Err(NameError("a host name has only letters, digits, `.`, `_` and `-`"));
        }
        // Redis may hold any number, but name and seat are found by their distance from the end.
        if epoch_ms > EPOCH_MS_MAX {
            return Err(NameError("a host's epoch has at most 12 hexadecimal digits"));
        }
        Ok(Self(format!("{name}.{seat:08x}.{epoch_ms:012x}")))
    }

    /// Reads an id back from Redis; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '.');
        let (epoch, seat, name) = (parts.next()?, parts.next()?, parts.next()?);
        let seat = u32::from_str_radix(seat, 16).ok()?;
        let epoch_ms = u64::from_str_radix(epoch, 16).ok()?;
        Self::new(name, seat, epoch_ms).ok().filter(|id| id.0 == text)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name the operator gave.
    pub fn name(&self) -> &str {
        &self.0[..self.0.len() - 22]
    }

    /// Name and seat: what all lives of one host on one machine share.
    pub fn seat(&self) -> &str {
        &self.0[..self.0.len() - 13]
    }

    /// Redis time at which this life began, milliseconds since the epoch.
    pub fn epoch_ms(&self) -> u64 {
        u64::from_str_radix(&self.0[self.0.len() - 12..], 16).unwrap_or(0)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job: `<host>-<seq>` for a plain push, given at the first claim; what the producer chose otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    /// Longest id in bytes.
    pub const BYTES_MAX: usize = 128;

    /// The id of the job that `host` claimed from a plain list as number `seq`.
    pub fn claimed(host: &HostId, seq: u64) -> Self {
        let (host, seq) = (host.as_str(), seq.to_string());
        Self([host, "-", &seq].concat())
    }

    /// Accepts 1 to 128 visible ASCII characters.
    pub fn new(id: impl Into<String>) -> Result<Self, NameError> {
        let id = id.into();
        if id.is_empty() || id.len() > Self::BYTES_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NameError("a job id has 1 to 128 visible ASCII characters without spaces"));
        }
        Ok(Self(id))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Redis time of the claim that gave out `seq`: sequence numbers run at 512 to the millisecond from the host's
/// epoch on, so that a record of bare payload still tells when it was first seen. The claim script counts so.
pub fn first_seen_ms(host: &HostId, seq: u64) -> u64 {
    host.epoch_ms() + seq / SEQ_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_refuse_what_is_ours() {
        for bad in ["", "a:sandhog:dead", "{orders}:sandhog:ready", "sandhog:hosts", &"x".repeat(1025)] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
        for good in ["orders", "eu{7}orders", "sandhog", "with space", "ключ", "a\nb"] {
            assert_eq!(QueueName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn host_ids_round_trip_with_dots_and_dashes_in_the_name() {
        for name in ["web1", "web-1.example", "a_b.c"] {
            let id = HostId::new(name, 0xabcd, 1_700_000_000_123).unwrap();
            assert_eq!(HostId::parse(id.as_str()), Some(id.clone()));
            assert_eq!((id.name(), id.epoch_ms()), (name, 1_700_000_000_123));
            assert_eq!(id.seat(), format!("{name}.0000abcd"));
        }
        for bad in ["", "web1", "web1.xyz.1", "a.b.c.d", "web1.0000abcd.123", "web1.0000abcd.1018bcfe5687b"] {
            assert_eq!(HostId::parse(bad), None, "{bad}");
        }
        assert!(HostId::new("two words", 1, 1).is_err());
    }

    #[test]
    fn a_sequence_number_tells_the_time_of_its_claim() {
        let host = HostId::new("h", 1, 1_000).unwrap();
        assert_eq!(first_seen_ms(&host, 0), 1_000);
        assert_eq!(first_seen_ms(&host, 512 * 250 + 511), 1_250);
    }
}
