//! Settings: those of the manifest's `[config]` table by their names, and those of the config reader `site` as
//! `site.<name>`. One run sees one state of them; reading costs no round trip.
//!
//! ```no_run
//! use sandhog_guest::{Result, config};
//!
//! fn currency() -> Result<String> {
//!     let limit: Option<u32> = config::get("site.limit")?;
//!     Ok(if limit == Some(0) { String::new() } else { config::get_or("site.currency", "EUR".to_owned())? })
//! }
//! ```

use std::fmt::Display;
use std::str::FromStr;

use crate::bindings::worker::wasi::config::store as raw;
use crate::error::{Error, Result};

/// The setting as whatever can be parsed of text; none if there is no such setting.
pub fn get<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>> {
    let text = raw::get(name).map_err(|error| unread(name, error))?;
    text.map(|text| parsed(name, &text)).transpose()
}

/// The setting, or this where there is none.
pub fn get_or<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    Ok(get(name)?.unwrap_or(default))
}

/// All settings that the plugin can see, sorted by name.
pub fn all() -> Result<Vec<(String, String)>> {
    raw::get_all().map_err(|error| unread("*", error))
}

fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error| said(name, &error))
}

fn unread(name: &str, error: raw::Error) -> Error {
    let (raw::Error::Upstream(reason) | raw::Error::Io(reason)) = error;
    said(name, &reason)
}

fn said(name: &str, reason: &dyn Display) -> Error {
    Error::Setting(format!("setting `{name}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_another_kind_is_said_with_its_name() {
        assert_eq!(parsed::<u8>("max", "7"), Ok(7));
        let error = parsed::<u8>("max", "many").unwrap_err();
        assert_eq!(error.to_string(), "setting `max`: invalid digit found in string");
        let error = unread("max", raw::Error::Io("gone".into()));
        assert_eq!(error, Error::Setting("setting `max`: gone".into()));
    }
}
