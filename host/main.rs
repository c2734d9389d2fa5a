//! The program: parse, dispatch, one line on stderr, exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
