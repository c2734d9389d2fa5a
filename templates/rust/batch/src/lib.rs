//! A batch worker: adds up numbers. A job's payload is a name and a number, `ada 12`; all jobs of a call with the same name
//! become one addition to `total:<name>`. A job that does not read so is buried.

mod sum;

use sandhog_guest::{Error, Failure, Job, kv};

sandhog_guest::batch!(handle);

/// One answer for each job, in their order. What a call changes belongs to those of its jobs that are answered `Ok`.
fn handle(jobs: Vec<Job>) -> Vec<Result<(), Failure>> {
    let entries: Vec<_> = jobs.iter().map(|job| sum::entry(&job.payload)).collect();
    let added = add(entries.iter().copied().flatten());
    entries
        .iter()
        .map(|entry| match entry {
            None => Err(Failure::bury("want NAME NUMBER")),
            // With no job answered `Ok` nothing of this call takes place.
            Some(_) => added.clone().map_err(Failure::from),
        })
        .collect()
}

fn add<'a>(entries: impl Iterator<Item = (&'a str, i64)>) -> Result<(), Error> {
    for (name, sum) in sum::by_name(entries) {
        kv::add(&format!("total:{name}"), sum)?;
    }
    Ok(())
}
