//! Makes a release the wanted one of the fleet: runs one script, with a signed order if there is a key.

use std::time::SystemTime;

use redis::Value;

use super::{
    BY_CHARS_MAX, Depot, DepotError, HISTORY_MAX, PLUGINS_MAX, UNWANTED, WANT, milliseconds, orders,
};
use crate::config::public_key::PublicKey;
use crate::job::key;
use crate::plugin::name::PluginName;
use crate::plugin::order;
use crate::plugin::release::{Digest, NUMBER_MAX, Signed, Wanted};
use crate::plugin::signature::PrivateKey;
use crate::storage::fault::Fault;

/// How often an order is signed again because another deploy has used its number.
const TRIES_MAX: usize = 20;

/// The result of the script.
enum Answer {
    Wanted(Wanted),
    /// The order does not have the next number, which is this one.
    Next(u64),
}

impl Depot {
    /// Makes a release that is in the depot the wanted one of a plugin. Of two simultaneous calls, the one with the
    /// higher number wins.
    pub async fn want(
        &self,
        plugin: &PluginName,
        id: &Digest,
        component: &Digest,
        by: &str,
    ) -> Result<Wanted, DepotError> {
        match self.try_want(plugin, id, component, by, None).await? {
            Answer::Wanted(wanted) => Ok(wanted),
            Answer::Next(_) => Err(unexpected().into()),
        }
    }

    /// As `want`, with an order that `key` signs. It is later than every order of the plugin in Redis that one of
    /// `trusted` has signed, even if the clock of this machine is behind.
    pub async fn want_signed(
        &self,
        plugin: &PluginName,
        id: &Digest,
        component: &Digest,
        by: &str,
        key: &PrivateKey,
        trusted: &[PublicKey],
    ) -> Result<Wanted, DepotError> {
        // A deploy never has this number, so the script returns the number to sign.
        let mut number = 0;
        for _ in 0..TRIES_MAX {
            let at_ms = now_ms().max(self.latest_ms(plugin, trusted).await? + 1);
            let signed = order::sign(key, plugin, id, number, at_ms);
            match self.try_want(plugin, id, component, by, Some((number, signed))).await? {
                Answer::Wanted(wanted) => return Ok(wanted),
                Answer::Next(next) => number = next,
            }
        }
        Err(DepotError::Contended(plugin.as_str().to_owned()))
    }

    /// The time of the latest order of the plugin that one of these keys has signed; 0 if there is none.
    async fn latest_ms(&self, plugin: &PluginName, trusted: &[PublicKey]) -> Result<u64, DepotError> {
        let history = self.history(plugin).await?.entries;
        let present = self.wanted().await?.entries.remove(plugin);
        let known = history.iter().chain(&present);
        Ok(known.filter_map(|wanted| order::verify(plugin, wanted, trusted).ok()).max().unwrap_or(0))
    }

    async fn try_want(
        &self,
        plugin: &PluginName,
        id: &Digest,
        component: &Digest,
        by: &str,
        signed: Option<(u64, Signed)>,
    ) -> Result<Answer, DepotError> {
        let by: String = by.chars().take(BY_CHARS_MAX).collect();
        let history = key::plugin_history(plugin.as_str());
        let keys = [Self::KEY, &history, &key::release(id.as_str()), &key::component(component.as_str())];
        let mut call = WANT.call(&keys);
        call.arg(plugin.as_str()).arg(id.as_str()).arg(component.as_str()).arg(&by);
        call.arg(HISTORY_MAX).arg(PLUGINS_MAX).arg(milliseconds(UNWANTED));
        call.arg(key::release("")).arg(key::component(""));
        let (prefix, ending) = key::plugin_history_parts();
        call.arg(prefix).arg(ending).arg(orders::ENTRY_BYTES_MAX).arg(NUMBER_MAX);
        if let Some((number, signed)) = &signed {
            call.arg(number).arg(signed.at_ms).arg(&signed.signature);
        }
        let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
        match read_want(WANT.run(&self.link, &call).await?)? {
            (1, Some(Value::Int(number)), Some(at_ms)) => Ok(Answer::Wanted(Wanted {
                release: id.clone(),
                component: component.clone(),
                number: number.unsigned_abs(),
                at_ms,
                by,
                signed: signed.map(|(_, signed)| signed),
            })),
            (2, Some(Value::BulkString(key)), _) => Err(DepotError::Missing(text(key))),
            (3, Some(Value::BulkString(key)), _) => Err(DepotError::WrongType(text(key))),
            (5, Some(Value::BulkString(key)), _) => {
                let (plugin, key) = (plugin.as_str().to_owned(), text(key));
                let is_history = key == history;
                let remedy = if is_history { format!("LPOP {key}") } else { format!("HDEL {key} {plugin}") };
                Err(DepotError::Number { plugin, key, remedy })
            }
            (6, Some(Value::Int(next)), _) => Ok(Answer::Next(next.unsigned_abs())),
            _ => Err(DepotError::TooMany),
        }
    }
}

/// The first number of a reply, the text or number after it, and the number after that.
fn read_want(answer: Value) -> Result<(u64, Option<Value>, Option<u64>), Fault> {
    let Value::Array(fields) = answer else { return Err(unexpected()) };
    let mut fields = fields.into_iter();
    let Some(Value::Int(kind)) = fields.next() else { return Err(unexpected()) };
    let (second, third) = (fields.next(), fields.next());
    let third = third.and_then(|third| if let Value::Int(n) = third { Some(n.unsigned_abs()) } else { None });
    Ok((kind.unsigned_abs(), second, third))
}

fn unexpected() -> Fault {
    Fault::Unexpected("a reply in another form than the script's".to_owned())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}
