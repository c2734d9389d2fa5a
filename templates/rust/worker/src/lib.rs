//! A worker that counts words: for each word of a job's payload it adds 1 to `count:<word>`, and it pushes the number of
//! words to the queue `word-counts`. A payload that is no text is buried.

mod words;

use sandhog_guest::{Failure, Job, kv, queue};

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    let text = std::str::from_utf8(&job.payload).map_err(|_| Failure::bury("not text"))?;
    let words = words::of(text);
    for word in &words {
        kv::add(&format!("count:{word}"), 1)?;
    }
    queue::push("word-counts", words.len())?;
    Ok(())
}
