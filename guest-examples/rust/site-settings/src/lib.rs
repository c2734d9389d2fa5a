//! A config reader: turns `keyname` and `config:*` into checked settings.
//!
//! | key | setting | without the key |
//! |---|---|---|
//! | `keyname` | `keyname` | `world` |
//! | `config:greeting` | `greeting`, followed by `, ` and the value of `keyname` | `hello` |
//! | `config:currency` | `currency`: three capital letters | `EUR` |
//! | `config:max_amount_cents` | `max_amount_cents`: a whole number above zero | `1000000` |
//! | `config:<other>` | `<other>`, as it is | – |
//!
//! A value that is not what it should be is an error that names the key; the host then keeps the last good
//! settings, and workers never see a bad one.

// Links the allocator.
use guest as _;

mod settings;

use exports::sandhog::worker::config_source::Guest;
use sandhog::worker::kv;
use sandhog::worker::types::Error;

wit_bindgen::generate!({ path: "../../../wit", world: "config-reader", generate_all });
export!(SiteSettings);

/// Keys that become settings of the rest of their name.
const PREFIX: &str = "config:";
/// Most keys in one `get-many`.
const PAGE: usize = 1000;

struct SiteSettings;

impl Guest for SiteSettings {
    fn read() -> Result<Vec<(String, String)>, String> {
        let keyname = kv::get("keyname").map_err(said)?;
        let mut config = Vec::new();
        for keys in keys().map_err(said)?.chunks(PAGE) {
            let values = kv::get_many(keys).map_err(said)?;
            config.extend(keys.iter().cloned().zip(values).filter_map(|(key, value)| Some((key, value?))));
        }
        settings::checked(keyname, config, PREFIX)
    }
}

/// Every `config:*` key, once each.
fn keys() -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = kv::list_keys(PREFIX, cursor.as_deref())?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            keys.sort_unstable();
            keys.dedup();
            return Ok(keys);
        }
    }
}

fn said(error: Error) -> String {
    match error {
        Error::Denied(name) => format!("the grants do not cover `{name}`"),
        Error::WrongType(key) => format!("`{key}` is not a string"),
        Error::Quota(bound) => format!("the bound `{bound}` was passed"),
        Error::Unavailable(reason) => reason,
    }
}
