//! The handler that the README shows: counts how often a name came, and greets it.

use sandhog_guest::{Failure, Job, kv, queue};

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    let name = String::from_utf8(job.payload).map_err(|_| Failure::bury("not a name"))?;
    let times = kv::increment(&format!("greeted:{name}"), 1)?;
    queue::push("greetings", format!("hello, {name} ({times})"))?;
    Ok(())
}
