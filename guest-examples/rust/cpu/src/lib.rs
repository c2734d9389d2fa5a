//! A queue worker that computes: it hashes its payload (FNV-1a) ten thousand times, which takes about a millisecond for a
//! hundred bytes. The bench has the same handler as a Rust function.

use std::hint::black_box;

use sandhog_guest::{Failure, Job};

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    const ROUNDS: u32 = 10_000;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for _ in 0..ROUNDS {
        for byte in &job.payload {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    black_box(hash);
    Ok(())
}
