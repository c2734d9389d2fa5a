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

mod settings;

use sandhog_guest::{Error, kv};

sandhog_guest::config_reader!(read);

/// Keys that become settings of the rest of their name.
const PREFIX: &str = "config:";
/// Most keys in one `get_many`.
const PAGE: usize = 1000;

fn read() -> Result<Vec<(String, String)>, String> {
    let keyname = kv::get("keyname")?;
    let mut config = Vec::new();
    for keys in keys()?.chunks(PAGE) {
        let values = kv::get_many(keys)?;
        config.extend(keys.iter().cloned().zip(values).filter_map(|(key, value)| Some((key, value?))));
    }
    settings::checked(keyname, config, PREFIX)
}

/// Every `config:*` key, once each.
fn keys() -> Result<Vec<String>, Error> {
    let mut keys: Vec<String> = kv::keys(PREFIX).collect::<Result<_, _>>()?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
