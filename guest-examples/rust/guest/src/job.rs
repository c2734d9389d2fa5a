//! A job as its handler sees it.

use crate::error::Failure;

/// One job: its payload, where it came from, the how-manieth attempt this is.
pub use crate::bindings::worker::exports::sandhog::worker::handler::Job;

impl Job {
    /// The payload as text; else the failure that buries the job.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.payload).map_err(|_| Failure::bury("the payload is not UTF-8 text"))
    }

    /// The payload as JSON; else the failure that buries the job.
    #[cfg(feature = "serde")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| Failure::bury(format!("malformed payload: {error}")))
    }

    /// The value of a header that the producer attached.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether a failure now sends the job to the dead ones.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(payload: &[u8], attempt: u32) -> Job {
        Job {
            id: "job-1".into(),
            queue: "orders".into(),
            payload: payload.into(),
            attempt,
            max_attempts: 3,
            first_seen_ms: 0,
            headers: vec![("trace".into(), "t-1".into())],
        }
    }

    #[test]
    fn a_payload_that_is_no_text_buries_its_job() {
        assert_eq!(job("żółw".as_bytes(), 1).text().ok(), Some("żółw"));
        assert!(matches!(job(b"\xff", 1).text(), Err(Failure::Bury(_))));
    }

    #[test]
    fn headers_and_attempts_are_told() {
        let job = job(b"", 3);
        assert_eq!((job.header("trace"), job.header("span")), (Some("t-1"), None));
        assert!(job.is_last_attempt() && !super::tests::job(b"", 2).is_last_attempt());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_payload_that_is_no_json_buries_its_job() {
        assert_eq!(job(b"[1, 2]", 1).json::<Vec<u8>>().ok(), Some(vec![1, 2]));
        assert!(matches!(job(b"[1", 1).json::<Vec<u8>>(), Err(Failure::Bury(_))));
    }
}
