//! Integration tests: a real Redis, real components, real processes.

#![expect(clippy::print_stdout, reason = "what servers and hosts logged is printed when a test fails")]
#![expect(clippy::unwrap_used, reason = "the setting that allows it in tests does not see helper functions")]
#![expect(unreachable_pub, reason = "nothing outside this binary uses what the modules share")]

// TCP, TLS, users, databases.
mod access;
// Plugins' own Redis users: what they may do, and who makes them.
mod acl;
// The connection cut at every command in turn.
mod anomaly;
// When a host counts as dead, and what happens to its runs.
mod death;
// The pages in `docs/`, whose commands are run.
mod docs;
// Effects that take place with their job's completion.
mod effects;
// Which server a host is connected to; what happens to jobs while Redis does not serve.
mod failover;
// Hosts, connections and Redis itself killed under load.
mod faults;
// Hostile guests and producers, one test per attack, each through a whole host.
mod hostile;
// Jobs that are cancelled, wherever they are.
mod cancel;
// The program from outside: texts, exit codes, signals.
mod cli;
// Guests whose commits are costly for Redis.
mod commit_work;
// How long guests can block Redis.
mod budget;
// Components that are costly to compile; what is kept of compiling.
mod compile;
// Dead jobs: groups, searches, edits, files.
mod dead;
// Every change of a job's place: exact structures in Redis before and after.
mod jobs;
// Looking at queues, which disturbs nobody.
mod inspect;
// A job's whole way: push, run, end.
mod lifecycle;
// Config readers: following, last good answers, publication.
mod config_reader;
// The example guests, run as plugins with their own manifests.
mod guests;
// `kv` against a real Redis: what each call does, refuses, and never sends.
mod kv;
// Storms over a ledger: short ones.
mod ledger;
// What the whole fleet may run of a queue.
mod limits;
// What loading refuses, in the exact words.
mod load;
// Projects of workers as `sandhog new` makes them: built, tested, run.
mod new;
// What a host logs while Redis is away.
mod outage;
// Panics of threads and tasks: they end the host, and its jobs come back.
mod panics;
// The write rate of plugins.
mod write_rate;
// Lists that runs popped from, after the death of their host.
mod popped;
// Queues, plugins and hosts that are held.
mod pause;
// Plain Redis clients on the same lists and keys.
mod plain_client;
// Queues of one host beside each other.
mod priority;
// Producers with options: the program, guests, and clients that only know Redis.
mod producer;
// `queue` against a real Redis.
mod queue;
// The table of reads from Redis, and their bounds.
mod reads;
// Records of unknown origin.
mod records;
// What jobs leave for who pushed them.
mod results;
// Instances that serve more than one job.
mod reuse;
// What became of each kind of run.
mod sandbox;
// Scripts beside the program: what they say where something is missing.
mod scripts;
// Jobs pushed at certain times, by any number of hosts.
mod schedule;
// Queues that run one job at a time.
mod serial;
// A Redis that is not ready, or that a host cannot use, at its start.
mod start;
// Stopping a host in every way.
mod shutdown;
// Jobs that must not starve.
mod starve;
// Hosts, Redis and faults for the ledger.
mod storm;
// Versions that take each other's place while jobs run.
mod swap;
// Workers that are given many jobs a call.
mod batch;
// What the tests start and look through.
mod support;
// The house style: sizes, heads, who imports whom.
mod tidy;
// Reads that many runs share.
mod together;
// A host whose log cannot be written or is not read.
mod unwritable;
