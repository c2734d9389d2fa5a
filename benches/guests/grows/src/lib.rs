//! A queue worker that does nothing, and takes more memory for it than its module begins with: one growth per run, as most
//! toolchains' allocators ask for at their first allocation. What that costs a host is the figure.

use sandhog_guest::{Failure, Job};

sandhog_guest::worker!(handle);

/// The module begins with four pages, and a stack and data are in them.
const BYTES: usize = 3 * 65_536;

fn handle(_job: Job) -> Result<(), Failure> {
    let mut block: Vec<u8> = Vec::with_capacity(BYTES);
    block.push(1);
    core::hint::black_box(&block);
    Ok(())
}
