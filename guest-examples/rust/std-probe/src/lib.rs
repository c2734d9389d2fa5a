//! A worker for tests that is built for `wasm32-wasip2`, as others' tools build guests: Cargo makes the component, and
//! std calls WASI 0.2 directly. Its payload is a script, one command a line; what came of each is pushed to the queue
//! `probe-results`.
//!
//! ```text
//! print TEXT | complain TEXT (standard error) | read FILE | write FILE | list FOLDER | environment | arguments
//! input | connect ADDRESS | listen ADDRESS | datagram ADDRESS | resolve NAME:PORT | clock | hash | sleep MS | exit CODE
//! ```

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, SystemTime};
use std::{env, fs, process, thread};

use sandhog_guest::{Failure, Job, queue};

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    for line in job.text()?.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let result = match command(name, rest) {
            Ok(value) => format!("{name}: ok {value}"),
            Err(error) => format!("{name}: {error}"),
        };
        queue::push("probe-results", result.trim_end())?;
    }
    Ok(())
}

fn command(name: &str, rest: &str) -> io::Result<String> {
    match name {
        "print" => println!("{rest}"),
        "complain" => eprintln!("{rest}"),
        "read" => return fs::read_to_string(rest),
        "write" => fs::write(rest, "mine")?,
        "list" => return Ok(fs::read_dir(rest)?.count().to_string()),
        "environment" => return Ok(env::vars_os().count().to_string()),
        "arguments" => return Ok(env::args_os().count().to_string()),
        "input" => return Ok(io::stdin().read_to_end(&mut Vec::new())?.to_string()),
        "connect" => drop(TcpStream::connect(rest)?),
        "listen" => drop(TcpListener::bind(rest)?),
        "datagram" => drop(UdpSocket::bind(rest)?),
        "resolve" => return Ok(rest.to_socket_addrs()?.count().to_string()),
        "clock" => return Ok((SystemTime::now() > SystemTime::UNIX_EPOCH).to_string()),
        // Its hash is seeded from the host's random numbers.
        "hash" => return Ok(HashSet::from([rest]).len().to_string()),
        "sleep" => thread::sleep(Duration::from_millis(rest.parse().unwrap_or(0))),
        "exit" => process::exit(rest.parse().unwrap_or(0)),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(String::new())
}
