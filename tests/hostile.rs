//! Hostile guests and producers, one test per attack, each through a whole host that can run one job at a time: what
//! became of the job, that the host is the same one with its lease unbroken, and that a good job runs right after in
//! the same place. Those of `fleet` run for a while beside a neighbour. When all have run, they print one table: `cargo
//! test hostile`.

mod argument;
mod attack;
mod bomb;
mod bulk;
mod figure;
mod fleet;
mod flood;
mod logs;
mod loops;
mod memory;
mod name;
mod payload;
mod reply;
mod siege;
mod table;
mod wasi;

/// Every attack, in the order of the table.
fn all() -> Vec<&'static str> {
    [
        loops::ATTACKS,
        memory::ATTACKS,
        argument::ATTACKS,
        reply::ATTACKS,
        flood::ATTACKS,
        name::ATTACKS,
        wasi::ATTACKS,
        bomb::ATTACKS,
        bulk::ATTACKS,
        payload::ATTACKS,
        fleet::ATTACKS,
    ]
    .concat()
}

#[test]
fn no_two_attacks_have_one_name() {
    let mut names = all();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
}
