//! A config reader: makes the setting `greeting` of the key `{{name}}:greeting`. Workers whose manifest has
//! `config = ["{{name}}"]` among its grants see it as `{{name}}.greeting`.
//!
//! It runs when it is loaded, and again whenever the key changes. On an error the last good settings stay.

mod greeting;

use sandhog_guest::kv;

sandhog_guest::config_reader!(read);

/// Where the greeting is.
const KEY: &str = "{{name}}:greeting";

fn read() -> Result<[(&'static str, String); 1], String> {
    let value = kv::get(KEY)?;
    Ok([("greeting", greeting::checked(KEY, value)?)])
}
