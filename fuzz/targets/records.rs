//! Writes records of every kind into a real Redis and runs all reading code of the host on them. This code must answer
//! or fail; it must not panic or hang. `tests/records/` has the writing and the reading code.
//! Input: a sequence of records. Each has its kind, the number of the record, then three pieces with their lengths
//! before them.

#![no_main]

#[path = "../../tests/records/read.rs"]
mod read;
mod server;
#[path = "../../tests/records/write.rs"]
mod write;

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sandhog::storage::link::Link;
use tokio::runtime::{Builder, Runtime};
use write::Record;

/// Most records of one input.
const RECORDS_MAX: usize = 32;

static STAGE: LazyLock<(Runtime, Link)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let program = std::env::var_os("SANDHOG_PROGRAM").map(PathBuf::from);
    let program = program.expect("SANDHOG_PROGRAM names the program: run `make fuzz`");
    let link = runtime.block_on(server::start(&program));
    (runtime, link)
});

/// Takes a record from the beginning of the input.
fn parse(input: &[u8]) -> Option<(Record, &[u8])> {
    let (&[kind, which], rest) = input.split_first_chunk()?;
    let (name, rest) = piece(rest)?;
    let (number, rest) = piece(rest)?;
    let (text, rest) = piece(rest)?;
    Some((Record { kind, which, name, number, text }, rest))
}

fn piece(input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (length, rest) = input.split_first()?;
    let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    Some((piece.to_vec(), rest))
}

fuzz_target!(|input: &[u8]| {
    let (mut records, mut rest) = (Vec::new(), input);
    while let Some((record, after)) = parse(rest).filter(|_| records.len() < RECORDS_MAX) {
        records.push(record);
        rest = after;
    }
    let (runtime, link) = &*STAGE;
    runtime.block_on(async {
        link.query::<()>(&redis::cmd("FLUSHALL")).await.expect("the server answers");
        write::write(link, &records).await;
        read::read(link).await;
    });
});
