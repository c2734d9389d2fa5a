//! The program: parse, dispatch, one line on stderr, exit code.

fn main() {}
