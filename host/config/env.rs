//! The environment and the machine, read in this file only: variables, home and state folders, the machine's
//! name. What they mean beside a settings file is in `settings`.

use std::path::PathBuf;

use super::settings::Overrides;
use crate::job::name::HOST_NAME_BYTES_MAX;

/// Where Redis is.
pub const REDIS_URL: &str = "SANDHOG_REDIS_URL";
/// The host's name.
pub const HOST_NAME: &str = "SANDHOG_HOST_NAME";
/// The Redis server program that `sandhog dev` and similar commands start.
pub const REDIS_SERVER: &str = "SANDHOG_REDIS_SERVER";
/// Where the host keeps its seat.
pub const STATE_DIR: &str = "SANDHOG_STATE_DIR";
/// The folder of plugins.
pub const PLUGINS_DIR: &str = "SANDHOG_PLUGINS_DIR";
/// Which log lines are written.
pub const LOG_LEVEL: &str = "SANDHOG_LOG";
/// How log lines are written.
pub const LOG_FORMAT: &str = "SANDHOG_LOG_FORMAT";
/// How long a start waits for Redis.
pub const START_WAIT: &str = "SANDHOG_START_WAIT";

/// One variable; none if it is not set, empty, or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the user asked for output without colours (<https://no-color.org>).
pub fn no_color() -> bool {
    variable("NO_COLOR").is_some()
}

/// The settings that variables give.
pub fn overrides() -> Overrides {
    Overrides {
        redis_url: variable(REDIS_URL),
        host_name: variable(HOST_NAME),
        state_dir: variable(STATE_DIR).map(PathBuf::from),
        plugins_dir: variable(PLUGINS_DIR).map(PathBuf::from),
        log_level: variable(LOG_LEVEL),
        log_format: variable(LOG_FORMAT),
        start_wait: variable(START_WAIT),
    }
}

/// The Redis server program: a name that is looked up in `PATH`, or a path.
pub fn redis_server() -> String {
    variable(REDIS_SERVER).unwrap_or_else(|| "redis-server".to_owned())
}

/// The user's home folder.
pub fn home_dir() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Where the host keeps its state if nobody says otherwise.
pub fn state_dir() -> PathBuf {
    state_dir_of(variable("XDG_STATE_HOME").map(PathBuf::from), home_dir())
}

/// The machine's name, as far as a host's name can hold it.
pub fn machine_name() -> String {
    host_name_of(&rustix::system::uname().nodename().to_string_lossy())
}

/// Number of cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn state_dir_of(xdg: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    // The convention says to ignore relative paths here.
    let xdg = xdg.filter(|dir| dir.is_absolute());
    let base = xdg.or_else(|| home.map(|home| home.join(".local/state")));
    base.unwrap_or_else(|| PathBuf::from("/var/lib")).join("sandhog")
}

fn host_name_of(machine: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String =
        machine.chars().take(HOST_NAME_BYTES_MAX).map(|c| if fits(c) { c } else { '-' }).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_follows_the_convention() {
        for (xdg, home, expected) in [
            (Some("/x"), Some("/home/a"), "/x/sandhog"),
            (Some("relative"), Some("/home/a"), "/home/a/.local/state/sandhog"),
            (None, Some("/home/a"), "/home/a/.local/state/sandhog"),
            (None, None, "/var/lib/sandhog"),
        ] {
            let dir = state_dir_of(xdg.map(PathBuf::from), home.map(PathBuf::from));
            assert_eq!(dir, PathBuf::from(expected));
        }
    }

    #[test]
    fn any_machine_has_a_name_that_a_host_can_have() {
        for (machine, expected) in [("web1", "web1"), ("a b.ключ", "a-b.----"), ("", "host")] {
            assert_eq!(host_name_of(machine), expected);
        }
        assert_eq!(host_name_of(&"x".repeat(100)).len(), HOST_NAME_BYTES_MAX);
    }
}
