//! A queue worker that writes each payload to the key `<queue>:echo`: what large values cost, both ways.

use sandhog_guest::{Failure, Job, kv};

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    kv::set(&format!("{}:echo", job.queue), &job.payload)?;
    Ok(())
}
