//! Why a call of a guest was not carried out, and the stable words in which the guest hears of it. What Redis
//! itself said goes to the log only.

use super::binding::sandhog::worker::types::Error;
use crate::job::name::QueueName;
use crate::storage::fault::Fault;

/// Why a call was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The grants do not cover this name.
    Denied(String),
    /// The grants cover this name, and Redis refused it to the plugin's own user all the same.
    Forbidden(String, Fault),
    /// This key holds something else than the call needs.
    WrongType(String),
    /// The named bound was passed.
    Quota(&'static str),
    /// Redis did not answer, or refused.
    Unavailable(Fault),
    /// There is no Redis behind this run: the component is only being loaded.
    NotRunning,
}

impl Refusal {
    /// The refusal behind what Redis answered to a call about `name`.
    pub fn of(fault: Fault, name: &str) -> Self {
        match &fault {
            Fault::Refused { code, detail } if is_wrong_type(code, detail) => {
                Self::WrongType(name.to_owned())
            }
            Fault::Forbidden { .. } => Self::Forbidden(name.to_owned(), fault),
            _ => Self::Unavailable(fault),
        }
    }

    /// The same about the queue whose companion key it was: guests hear of no key of the host's.
    pub(super) fn about(self, queue: &QueueName) -> Self {
        let name = queue.as_str().to_owned();
        match self {
            Self::WrongType(_) => Self::WrongType(name),
            Self::Forbidden(_, fault) => Self::Forbidden(name, fault),
            refusal => refusal,
        }
    }

    /// What the guest is told.
    pub fn for_guest(&self) -> Error {
        match self {
            Self::Denied(name) | Self::Forbidden(name, _) => Error::Denied(name.clone()),
            Self::WrongType(name) => Error::WrongType(name.clone()),
            Self::Quota(bound) => Error::Quota((*bound).to_owned()),
            Self::Unavailable(fault) => Error::Unavailable(reason(fault).to_owned()),
            Self::NotRunning => Error::Unavailable("nothing can be reached while loading".to_owned()),
        }
    }
}

/// Whether Redis found another type, or text that is not an integer in range. The latter has no code of its own.
fn is_wrong_type(code: &str, detail: &str) -> bool {
    code == "WRONGTYPE"
        || (code == "ERR" && (detail.contains("not an integer") || detail.contains("would overflow")))
}

fn reason(fault: &Fault) -> &'static str {
    match fault {
        Fault::Lost { .. } => "redis cannot be reached",
        Fault::TimedOut { .. } => "redis did not answer in time",
        Fault::Forbidden { .. } => "redis refused the command",
        Fault::Unexpected(_) => "redis gave an unexpected answer",
        Fault::Refused { code, .. } => match code.as_str() {
            "OOM" => "redis refused the write: memory limit reached",
            "READONLY" => "redis refused the write: it is a read-only replica",
            "MISCONF" => "redis refused the write: it cannot save to disk",
            "LOADING" => "redis is loading its data",
            "BUSY" => "redis is busy with a script",
            "NOPERM" => "redis refused the command: the host's user may not use it",
            _ => "redis refused the command",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::obstacle::Obstacle;

    fn refused(code: &str, detail: &str) -> Fault {
        Fault::Refused { code: code.to_owned(), detail: detail.to_owned() }
    }

    #[test]
    fn guests_never_see_what_redis_said() {
        let address = "10.0.0.7:6379".to_owned();
        for fault in [
            refused("OOM", "command not allowed when used memory > 'maxmemory' 10.0.0.7"),
            refused("ERR", "something 10.0.0.7"),
            Fault::Lost { address: address.clone(), cause: "refused".to_owned(), obstacle: Obstacle::Absent },
            Fault::TimedOut { address },
            Fault::Unexpected("10.0.0.7".to_owned()),
        ] {
            let Error::Unavailable(text) = Refusal::of(fault, "k").for_guest() else { panic!() };
            assert!(text.starts_with("redis ") && !text.contains("10.0.0.7"), "{text}");
        }
    }

    #[test]
    fn values_that_are_no_integers_are_of_the_wrong_type() {
        for fault in [
            refused("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
            refused("ERR", "value is not an integer or out of range"),
            refused("ERR", "increment or decrement would overflow"),
        ] {
            assert!(matches!(Refusal::of(fault, "k"), Refusal::WrongType(key) if key == "k"));
        }
    }
}
