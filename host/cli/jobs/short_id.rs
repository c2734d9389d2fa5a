//! Jobs as people name them: by a whole id, by its beginning, or shortened as tables on a terminal show it (`web-1…c00-17`).

use sandhog::job::inspect::{self, JobRow, Place};
use sandhog::job::name::{JobId, QueueName};
use sandhog::storage::link::Link;

use crate::cli::error::{Failure, Outcome};
use crate::cli::text;

/// Jobs of each place that are compared with a part of an id, the latest first.
const LOOKED_AT_MAX: usize = 10_000;
/// Ids that an ambiguous part may name in the error.
const NAMED_MAX: usize = 5;
/// What tables put in the place of the middle, and what people may type for it.
const LEFT_OUT: [&str; 2] = ["…", "..."];
const PLACES: [Place; 6] =
    [Place::Inflight, Place::Ready, Place::Delayed, Place::Parked, Place::Dead, Place::Waiting];

/// A job as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// By an id, or by its beginning.
    Id(JobId),
    /// By the beginning and the end of its id.
    Part(String, String),
}

/// For clap.
pub(super) fn parse(text: &str) -> Result<Named, String> {
    for left_out in LEFT_OUT {
        if let Some((head, tail)) = text.split_once(left_out)
            && !head.is_empty()
            && !tail.is_empty()
        {
            let part = |part: &str| JobId::new(part).map_err(|error| error.to_string());
            return Ok(Named::Part(part(head)?.to_string(), part(tail)?.to_string()));
        }
    }
    JobId::new(text).map(Named::Id).map_err(|error| error.to_string())
}

impl Named {
    /// The id: as it was given if it is whole, or that of the one job that has such an id.
    ///
    /// # Errors
    ///
    /// No job has such an id, or several have.
    pub(super) async fn id(&self, link: &Link, queue: &QueueName) -> Outcome<JobId> {
        match self {
            Self::Id(id) => Ok(id.clone()),
            Self::Part(head, tail) => match find(link, queue, head, tail).await? {
                Some(id) => Ok(id),
                None => {
                    let queue = text::visible(queue.as_str().as_bytes(), 80);
                    Err(Failure::failed(format!("there is no job `{head}…{tail}` in queue `{queue}`"))
                        .with_hint("with `--wide` tables show whole ids"))
                }
            },
        }
    }
}

/// The only id with this beginning and this end; none if there is no such job.
///
/// # Errors
///
/// Several jobs have such an id.
pub(super) async fn find(link: &Link, queue: &QueueName, head: &str, tail: &str) -> Outcome<Option<JobId>> {
    let mut found: Vec<JobId> = Vec::new();
    for place in PLACES {
        let (mut cursor, mut looked_at) = (None, 0);
        loop {
            let (rows, next) = inspect::list(link, queue, place, cursor, inspect::PAGE_MAX).await?;
            looked_at += rows.len();
            found.extend(rows.into_iter().filter_map(|row: JobRow| row.id).filter(|id| fits(id, head, tail)));
            cursor = next;
            if cursor.is_none() || looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    if found.len() > 1 {
        let named: Vec<String> = found.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let why = format!("{} jobs have an id like `{head}…{tail}`", found.len());
        return Err(Failure::refused(why).with_details(named).with_hint("give more of the id"));
    }
    Ok(found.pop())
}

fn fits(id: &JobId, head: &str, tail: &str) -> bool {
    let id = id.as_str();
    id.len() >= head.len() + tail.len() && id.starts_with(head) && id.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_its_id_or_by_both_ends_of_it() {
        let part = |head: &str, tail: &str| Ok(Named::Part(head.to_owned(), tail.to_owned()));
        assert_eq!(parse("web-1…c00-17"), part("web-1", "c00-17"));
        assert_eq!(parse("web-1...c00-17"), part("web-1", "c00-17"));
        assert_eq!(parse("web-1"), Ok(Named::Id(JobId::new("web-1").unwrap())));
        assert_eq!(parse("..."), Ok(Named::Id(JobId::new("...").unwrap())), "an id may have dots");
        assert!(parse("web…").is_err() && parse("").is_err());
    }

    #[test]
    fn both_ends_must_fit_without_overlapping() {
        let id = JobId::new("abcd").unwrap();
        assert!(fits(&id, "ab", "cd") && fits(&id, "a", ""));
        assert!(!fits(&id, "abc", "bcd"));
    }
}
