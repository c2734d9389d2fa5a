//! The program from outside: what it prints, where, and its exit codes. Texts are part of the product, so they are
//! snapshots; what a command does to Redis is asserted beside them.

// Flags, settings and a Redis that is not there.
mod refusal;
// Warnings that are needed, and false alarms.
mod alarms;
// Mistyped and shortened names, and tables on narrow terminals.
mod names;
// A Redis that cannot be used: the error and the hint.
mod obstacle;
mod order;
// push, queues, jobs, hosts.
mod job;
// check, plugins, componentize.
mod plugin;
// Cases of plugins, from files.
mod cases;
// keygen, sign, deploy.
mod fleet;
// `hosts`: the table and the JSON.
mod hosts;
// One run, and what it would change.
mod invoke;
// `sandhog keys`: the keys under a prefix.
mod keys;
// Commands that parse foreign components run within bounds.
mod confined;
// What must not be seen anywhere.
mod secret;
// Text of guests and producers, on a terminal and in JSON.
mod foreign;
// What is measured, and that nothing of it stays.
mod bench;
// Which server program `invoke`, `test`, `dev` and `demo` start.
mod server;
// run, dev and demo: whole hosts.
mod serve;
// The same again, whenever a file has changed.
mod watch;
// The same as a tool: keys from a file, many runs, many jobs.
mod workbench;
