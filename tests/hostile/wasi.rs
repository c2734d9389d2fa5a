//! Guests that look for a world around them: files, environment, standard input, sockets, names of hosts.

use super::attack::Ends::{Dead, Done};
use super::attack::{attacks, when_attacking};
use crate::support::guest::wasi_worker;

const NETWORK: &str =
    r#"(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))"#;
const LOOKUP: &str = r#"(import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses"
    (func $resolve (param i32 i32 i32 i32)))"#;
const SOCKET: &str = r#"(import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket"
    (func $socket (param i32 i32)))"#;
const CONNECT: &str = r#"(import "wasi:sockets/tcp@0.2.0" "[method]tcp-socket.start-connect"
    (func $connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
const STDIN: &str = r#"(import "wasi:cli/stdin@0.2.0" "get-stdin" (func $stdin (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))"#;

attacks! {
    reading_the_environment: "WASI with nothing in it", Done,
        is_empty("wasi:cli/environment@0.2.0", "get-environment");
    reading_the_arguments: "WASI with nothing in it", Done, is_empty("wasi:cli/environment@0.2.0", "get-arguments");
    reading_files: "WASI with nothing in it", Done, is_empty("wasi:filesystem/preopens@0.2.0", "get-directories");
    reading_standard_input: "WASI with nothing in it", Done, wasi_worker(STDIN, "", &when_attacking(
        // It is closed: variant 1 of the error.
        "(call $read (call $stdin) (i64.const 100) (i32.const 1024))
        (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 1028)) (i32.const 1)) (then unreachable)) i32.const 0"));
    opening_a_socket: "no sockets", Done, wasi_worker(&format!("{NETWORK} {SOCKET} {CONNECT}"), "", &when_attacking(
        // No socket; or one that may not connect to 127.0.0.1:6379, where a Redis could be.
        "(call $socket (i32.const 0) (i32.const 1024))
        (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 0))))
        (call $connect (i32.load (i32.const 1028)) (call $network) (i32.const 0) (i32.const 6379) (i32.const 127)
            (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 1024))
        (if (i32.eqz (i32.load8_u (i32.const 1024))) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 1025)) (i32.const 1)) (then unreachable)) i32.const 0"));
    asking_for_a_hosts_address: "no sockets", Done, wasi_worker(&format!("{NETWORK} {LOOKUP}"),
        r#"(data (i32.const 2048) "localhost")"#, &when_attacking(
        "(call $resolve (call $network) (i32.const 2048) (i32.const 9) (i32.const 1024))
        (if (i32.eqz (i32.load8_u (i32.const 1024))) (then unreachable)) i32.const 0"));
    leaving_with_exit: "a trap", Dead("the guest called exit(1)"), wasi_worker(
        r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#, "",
        &when_attacking("(call $exit (i32.const 1)) i32.const 0"));
}

/// Traps unless this function answers an empty list.
fn is_empty(interface: &str, function: &str) -> Vec<u8> {
    wasi_worker(
        &format!("(import \"{interface}\" \"{function}\" (func $list (param i32)))"),
        "",
        &when_attacking(
            "(i32.store (i32.const 1028) (i32.const 9)) (call $list (i32.const 1024))
            (if (i32.load (i32.const 1028)) (then unreachable)) i32.const 0",
        ),
    )
}
