//! The fleet's plugins in Redis: components by digest, releases by id, and which release of each plugin is wanted.
//! This file does not trust what it reads: it bounds lengths before it fetches anything (`orders`, `storage::bounded`),
//! and computes ids again. This file does not know what a host does with a release, or who may sign one.
//!
//! A component is gathered under a name of its own and renamed when every chunk has been looked at again; it goes
//! away by itself unless a wanted release has it. So what was interrupted leaves nothing that counts.

mod orders;
mod want;

use std::sync::LazyLock;
use std::time::Duration;

use redis::Value;
use sha1_smol::Sha1;

use super::release::{Digest, NUMBER_MAX, Release};
use crate::config::document::FILE_BYTES_MAX;
use crate::config::unit::show_size;
use crate::job::key;
use crate::storage::bounded::{Bound, Element, Of};
use crate::storage::fault::Fault;
use crate::storage::link::Link;
use crate::storage::script::Script;

/// Most plugins of a fleet.
pub const PLUGINS_MAX: u64 = 1000;
/// Releases of a plugin that are remembered, and kept.
pub const HISTORY_MAX: usize = 20;
/// Bytes of a chunk, but for the last one: Redis serves others between two.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// How long a component that is on its way waits for its next chunk.
const GATHERED: Duration = Duration::from_secs(10 * 60);
/// How long a component or a release stays that no history has: deploys and hosts that are at it can finish.
const UNWANTED: Duration = Duration::from_secs(3600);
/// Longest release in JSON: a manifest in which every byte is escaped, and some room for the rest.
const RELEASE_BYTES_MAX: usize = 6 * FILE_BYTES_MAX as usize + 4096;
/// Most digits of a component's length.
const LENGTH_DIGITS_MAX: usize = 20;
/// Longest text that says who deploys.
const BY_CHARS_MAX: usize = 100;

/// A script made of its parts. One that writes has no flags: at Redis' memory limit it is refused before anything is
/// written.
macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        static $name: LazyLock<Script> = LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));
    };
    ($name:ident writes $($file:literal),+) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua\n",
                include_str!("../job/script/part/refusal.lua"),
                include_str!("../job/script/part/wrong_type.lua"),
                $(include_str!($file)),+
            ))
        });
    };
}

script!(PUT_CHUNK writes "script/put_chunk.lua");
script!(KEEP_COMPONENT writes "script/part/whole.lua", "script/keep_component.lua");
script!(WANT writes "../job/script/part/now.lua", "script/want.lua");
script!(CHUNK_DIGEST, "script/chunk_digest.lua");

/// Why the depot could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DepotError {
    /// Redis gave no usable answer.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// A key of ours holds something else.
    #[error("the key `{0}` holds another type than Sandhog keeps there")]
    WrongType(String),
    /// A release or a component is not there, or not any more.
    #[error("there is no `{0}` in Redis; deploy it again")]
    Missing(String),
    /// What is there is not what its name says.
    #[error("`{key}` in Redis is damaged: {reason}; deploy it again")]
    Damaged {
        /// Where.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The latest entry, which Sandhog did not write, has a number that cannot be incremented.
    #[error(
        "the latest entry of plugin `{plugin}` in `{key}` has a number that no deploy has (above {NUMBER_MAX}, negative \
         or not whole): Sandhog did not write it; remove it with `{remedy}`, then deploy again"
    )]
    Number {
        /// The plugin.
        plugin: String,
        /// The key of the entry.
        key: String,
        /// The Redis command that removes it.
        remedy: String,
    },
    /// Not even asked for.
    #[error("the component `{key}` has {}; it can have {} at the most (`limits.component`)", show_size(*.bytes), show_size(*.bytes_max))]
    TooLarge {
        /// Where.
        key: String,
        /// What it claims to have.
        bytes: u64,
        /// What the host takes.
        bytes_max: u64,
    },
    /// Other deploys of the plugin came first in every attempt.
    #[error("others deploy plugin `{0}` at the same time; try again")]
    Contended(String),
    /// One more does not fit.
    #[error("the fleet has {PLUGINS_MAX} plugins, and cannot have more")]
    TooMany,
}

/// What putting a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The component was sent.
    Sent,
    /// It was there already.
    Known,
}

/// The depot at the other end of a link; clones share the connection.
#[derive(Debug, Clone)]
pub struct Depot {
    link: Link,
}

impl Depot {
    /// The key that changes whenever another release is wanted: `wanted` reads it, so key tracking on the same
    /// link reports its next change.
    pub const KEY: &str = key::PLUGINS;

    /// The depot at the other end of `link`.
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// A release; none if it is not there.
    pub async fn release(&self, id: &Digest) -> Result<Option<Release>, DepotError> {
        let key = key::release(id.as_str());
        let mut get = redis::cmd("GETRANGE");
        get.arg(&key).arg(0).arg(RELEASE_BYTES_MAX);
        let text: Vec<u8> = self.ask(&get, &key).await?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > RELEASE_BYTES_MAX {
            return Err(damaged(&key, "it is larger than any release"));
        }
        let release: Release = serde_json::from_slice(&text)
            .map_err(|error| damaged(&key, format!("it is no release: {error}")))?;
        if release.id() == *id { Ok(Some(release)) } else { Err(damaged(&key, "it is another release")) }
    }

    /// The bytes of a component of at most `bytes_max`, exactly those that have this digest.
    pub async fn component(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, DepotError> {
        let key = key::component(digest.as_str());
        let bound = Bound { elements: 1, bytes: LENGTH_DIGITS_MAX };
        let length = match self.field(&key, "bytes", bound).await? {
            Element::Whole(digits) => {
                String::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok())
            }
            Element::TooLong(_) => None,
            Element::Absent => return Err(DepotError::Missing(key)),
        };
        let length = length.ok_or_else(|| damaged(&key, "its length is not a number"))?;
        if length > bytes_max {
            return Err(DepotError::TooLarge { key, bytes: length, bytes_max });
        }
        let length = usize::try_from(length).map_err(|_| damaged(&key, "its length is not a number"))?;
        let mut component = Vec::with_capacity(length);
        for (number, size) in chunk_sizes(length).enumerate() {
            let bound = Bound { elements: 1, bytes: size };
            let has = match self.field(&key, &number.to_string(), bound).await? {
                Element::Whole(chunk) if chunk.len() == size => {
                    component.extend(chunk);
                    continue;
                }
                Element::Whole(chunk) => chunk.len() as u64,
                Element::TooLong(has) => has,
                Element::Absent => return Err(damaged(&key, format!("chunk {number} is missing"))),
            };
            return Err(damaged(&key, format!("chunk {number} has {has} bytes instead of {size}")));
        }
        if Digest::of(&component) == *digest {
            Ok(component)
        } else {
            Err(damaged(&key, "it is another one"))
        }
    }

    async fn field(&self, key: &str, field: &str, bound: Bound) -> Result<Element, DepotError> {
        let found = self.elements(key, Of::Fields(&[field]), bound).await?;
        Ok(found.into_iter().next().unwrap_or(Element::Absent))
    }

    /// Puts a release with its component into the depot; `progress` is told how many bytes have been sent. Nobody
    /// runs it until it is wanted.
    ///
    /// # Panics
    ///
    /// If the component is not that of the release.
    pub async fn put(
        &self,
        release: &Release,
        component: &[u8],
        mut progress: impl FnMut(u64),
    ) -> Result<Put, DepotError> {
        assert_eq!(Digest::of(component), release.component, "a release is put with its own component");
        let put = match self.is_there(release, component).await? {
            true => Put::Known,
            false => self.send(release, component, &mut progress).await?,
        };
        self.put_release(release).await?;
        Ok(put)
    }

    /// Whether the whole component is there, each chunk as it should be; it then stays for a while.
    async fn is_there(&self, release: &Release, component: &[u8]) -> Result<bool, DepotError> {
        let key = key::component(release.component.as_str());
        if !self.keep(&[&key], component.len()).await? {
            return Ok(false);
        }
        for (number, chunk) in component.chunks(CHUNK_BYTES).enumerate() {
            let mut call = CHUNK_DIGEST.call(&[&key]);
            call.arg(number).arg(chunk.len());
            let found: String = CHUNK_DIGEST.run(&self.link, &call).await?;
            if found != Sha1::from(chunk).digest().to_string() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send(
        &self,
        release: &Release,
        component: &[u8],
        progress: &mut impl FnMut(u64),
    ) -> Result<Put, DepotError> {
        let key = key::component(release.component.as_str());
        let gathered = key::component_on_its_way(release.component.as_str(), fastrand::u64(..));
        let mut sent = 0;
        for (number, chunk) in component.chunks(CHUNK_BYTES).enumerate() {
            let mut call = PUT_CHUNK.call(&[&gathered]);
            call.arg(number).arg(chunk).arg(milliseconds(GATHERED));
            match PUT_CHUNK.run::<Value>(&self.link, &call).await? {
                Value::BulkString(found) if found == Sha1::from(chunk).digest().to_string().as_bytes() => {}
                Value::Array(_) => return Err(DepotError::WrongType(gathered)),
                _ => return Err(damaged(&gathered, format!("chunk {number} is not what was sent"))),
            }
            sent += chunk.len() as u64;
            progress(sent);
        }
        if self.keep(&[&key, &gathered], component.len()).await? {
            Ok(Put::Sent)
        } else {
            Err(damaged(&gathered, "it is not what was sent"))
        }
    }

    async fn keep(&self, keys: &[&String], bytes: usize) -> Result<bool, DepotError> {
        let mut call = KEEP_COMPONENT.call(keys);
        call.arg(bytes).arg(CHUNK_BYTES).arg(milliseconds(UNWANTED));
        match KEEP_COMPONENT.run::<Value>(&self.link, &call).await? {
            Value::Int(done) => Ok(done == 1),
            _ => Err(DepotError::WrongType(keys[0].clone())),
        }
    }

    async fn put_release(&self, release: &Release) -> Result<(), DepotError> {
        let key = key::release(release.id().as_str());
        let text = serde_json::to_string(release).expect("strings always make JSON");
        let mut put = redis::pipe();
        // One that is wanted keeps no expiry; one that somebody spoiled is mended.
        put.cmd("SET").arg(&key).arg(&text).arg("NX").arg("PX").arg(milliseconds(UNWANTED));
        put.cmd("SET").arg(&key).arg(&text).arg("XX").arg("KEEPTTL");
        put.cmd("PEXPIRE").arg(&key).arg(milliseconds(UNWANTED)).arg("GT");
        for answer in self.link.pipeline(&put).await? {
            answer?;
        }
        Ok(())
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd, key: &str) -> Result<T, DepotError> {
        self.link.query(command).await.map_err(|fault| orders::at_key(fault, key))
    }
}

/// The lengths of the chunks of so many bytes.
fn chunk_sizes(bytes: usize) -> impl Iterator<Item = usize> {
    (0..bytes.div_ceil(CHUNK_BYTES)).map(move |number| (bytes - number * CHUNK_BYTES).min(CHUNK_BYTES))
}

fn damaged(key: &str, reason: impl Into<String>) -> DepotError {
    DepotError::Damaged { key: key.to_owned(), reason: reason.into() }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
