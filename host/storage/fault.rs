//! What can go wrong between the host and Redis. Callers branch on it; guests never see its text.

use super::obstacle::{Obstacle, is_garbled};

/// Codes of a replica: for writes, and for everything while it has lost its primary.
const WRONG_SERVER_CODES: [&str; 2] = ["READONLY", "MASTERDOWN"];
/// Codes that a server returns for most commands while it is in a certain state.
const STATE_CODES: [&str; 7] =
    ["LOADING", "NOREPLICAS", "MISCONF", "BUSY", "UNKILLABLE", "NOAUTH", "CLUSTERDOWN"];
/// Codes that a server returns for some commands, whoever sends them: its memory is full, or the host's user lost a
/// right.
const CONDITION_CODES: [&str; 2] = ["OOM", "NOPERM"];

/// Why Redis gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection, or it broke: what was sent may or may not have been carried out.
    #[error("cannot reach Redis at `{address}`: {cause}")]
    Lost {
        /// The address, without secrets.
        address: String,
        /// What the connection said.
        cause: String,
        /// Why there is no connection.
        obstacle: Obstacle,
    },
    /// No answer before the deadline: what was sent may or may not have been carried out.
    #[error("Redis at `{address}` did not answer in time")]
    TimedOut {
        /// The address, without secrets.
        address: String,
    },
    /// Redis refused the command and did nothing.
    #[error("Redis refused: {code} {detail}")]
    Refused {
        /// First word of the error, for example `WRONGTYPE` or `OOM`.
        code: String,
        /// The rest of its text.
        detail: String,
    },
    /// Redis refused a plugin's own user what the host had let through, and did nothing.
    #[error("Redis refused this to the user `{user}`: {detail}")]
    Forbidden {
        /// The plugin's user.
        user: String,
        /// What Redis said.
        detail: String,
    },
    /// An answer of another shape than the command has.
    #[error("Redis gave an unexpected answer: {0}")]
    Unexpected(String),
}

impl Fault {
    /// There is no connection, because of this fault.
    pub(super) fn lost(address: &str, because: &Self) -> Self {
        let cause = match because {
            Self::Refused { code, detail } => format!("{code} {detail}"),
            other => other.to_string(),
        };
        Self::Lost { address: address.to_owned(), cause, obstacle: Obstacle::of(because) }
    }

    /// Whether it is unknown if the command took place, and the connection is to be replaced.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TimedOut { .. })
    }

    /// Whether Redis refused with this code.
    pub fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether Redis was unavailable for a reason that has nothing to do with the command: it was not reached, or it
    /// is in a state in which it refuses the commands of others as well.
    pub fn is_outage(&self) -> bool {
        self.is_lost() || self.is_wrong_server() || self.is_state_of_server() || self.is_any(&CONDITION_CODES)
    }

    /// Whether the server is a replica, which refuses writes or returns stale data.
    pub(super) fn is_wrong_server(&self) -> bool {
        self.is_any(&WRONG_SERVER_CODES)
    }

    /// Whether the state of the server caused the refusal. The state may pass, or the address may lead to another
    /// server then.
    pub(super) fn is_state_of_server(&self) -> bool {
        self.is_any(&STATE_CODES)
    }

    fn is_any(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.is_code(code))
    }

    /// The fault behind an error of the client library.
    pub(crate) fn new(error: &redis::RedisError, address: &str) -> Self {
        use redis::ErrorKind;
        let address = address.to_owned();
        if error.is_timeout() {
            return Self::TimedOut { address };
        }
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused {
                code: error.code().unwrap_or("ERR").to_owned(),
                detail: error.detail().unwrap_or_default().to_owned(),
            },
            ErrorKind::UnexpectedReturnType => Self::Unexpected(error.to_string()),
            kind => {
                let obstacle = Obstacle::of_broken(error);
                let cause = match kind {
                    ErrorKind::AuthenticationFailed => "the user or the password was refused".to_owned(),
                    // The library's text is the message of its parser, in several lines.
                    ErrorKind::Parse if is_garbled(error) => {
                        "its reply is not in the protocol of Redis".to_owned()
                    }
                    _ => error.to_string(),
                };
                Self::Lost { address, cause, obstacle }
            }
        }
    }
}
