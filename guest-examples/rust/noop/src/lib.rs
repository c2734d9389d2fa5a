//! A queue worker that does nothing: the benchmark's guest, and the shortest there is.

use sandhog_guest::{Failure, Job};

sandhog_guest::worker!(handle);

fn handle(_job: Job) -> Result<(), Failure> {
    Ok(())
}
