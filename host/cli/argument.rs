//! Values of flags: read from text, refused with a reason that clap prints behind the flag's name.

use std::time::Duration;

use sandhog::job::name::{JobId, QueueName};
use sandhog::plugin::name::PluginName;

/// A queue's name.
pub(crate) fn queue(text: &str) -> Result<QueueName, String> {
    QueueName::new(text).map_err(|error| error.to_string())
}

/// A job's id.
pub(crate) fn job_id(text: &str) -> Result<JobId, String> {
    JobId::new(text).map_err(|error| error.to_string())
}

/// A plugin's name.
pub(crate) fn plugin(text: &str) -> Result<PluginName, String> {
    PluginName::new(text).map_err(|error| error.to_string())
}

/// The terms of a canary, as the table of a manifest: `0.1`, or `share=0.1,for=2m,max_failure_rate=0.05`.
pub(crate) fn canary(text: &str) -> Result<String, String> {
    let mut table = "[canary]\n".to_owned();
    for term in text.split(',') {
        let (name, value) = term.split_once('=').unwrap_or(("share", term));
        let line = match name {
            "share" | "max_failure_rate" if value.parse::<f64>().is_ok() => format!("{name} = {value}\n"),
            "for" if duration(value).is_ok() => format!("for = \"{value}\"\n"),
            _ => {
                return Err("write for example `0.1`, or `share=0.1,for=2m,max_failure_rate=0.05`".to_owned());
            }
        };
        if table.contains(&format!("\n{name} =")) {
            return Err(format!("`{name}` is given twice"));
        }
        table.push_str(&line);
    }
    Ok(table)
}

/// A span of time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("a time cannot be negative; write for example `500ms`, `10s`, `2h`".to_owned());
    }
    humantime::parse_duration(text)
        .map_err(|_| "not a time; write for example `500ms`, `10s`, `2h`".to_owned())
}

/// `key=value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form `key=value`")?;
    if key.is_empty() || key.starts_with('!') {
        return Err("a header needs a name, and one that does not begin with `!`".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `key=value` with any key.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form `key=value`".to_owned()),
    }
}
