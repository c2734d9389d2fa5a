//! A compiler that waits at a gate: it compiles components above a certain size when the gate is open, and others
//! immediately.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandhog::app::{Host, Options};
use sandhog::config::settings::Settings;
use tempfile::TempDir;

use super::guest::{program, worker};

/// Components with more bytes wait.
const FREE_BYTES_MAX: usize = 100_000;

/// The gate, shut until `open` is called.
pub struct Gate {
    folder: TempDir,
}

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Self {
        let gate = Self { folder: tempfile::Builder::new().prefix("gate-").tempdir().unwrap() };
        // A compiler continues if its test has ended, or if it has waited for minutes.
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\nn=0\n\
             if [ \"$(stat -L -c %s /proc/self/fd/0)\" -gt {FREE_BYTES_MAX} ]; then\n\
             while [ -d {:?} ] && [ ! -e {:?} ] && [ $n -lt 9000 ]; do sleep 0.02; n=$((n + 1)); done\nfi\n\
             exec {:?} \"$@\"\n",
            gate.folder.path(),
            gate.sign(),
            program()
        );
        write_program(&gate.compiler(), &script);
        gate
    }

    /// Lets compilers continue.
    pub fn open(&self) {
        std::fs::write(self.sign(), "").unwrap();
    }

    /// Lets no further compiler pass.
    pub fn shut(&self) {
        std::fs::remove_file(self.sign()).unwrap();
    }

    /// Starts a host that compiles through the gate, and returns when it serves its first plugin.
    pub async fn serve(&self, settings: Settings) -> Host {
        let options = Options::new(settings, self.compiler());
        let host = Host::start_unless(options, std::future::pending()).await.unwrap();
        host.expect("nobody stopped the start")
    }

    fn sign(&self) -> PathBuf {
        self.folder.path().join("open")
    }

    fn compiler(&self) -> PathBuf {
        self.folder.path().join("compiler")
    }
}

/// Data that makes a component wait; the text distinguishes components.
pub fn weight(text: &str) -> String {
    format!("(data (i32.const 131072) \"{}{text}\")", "x".repeat(FREE_BYTES_MAX))
}

/// A worker that waits at the gate, and completes its jobs.
pub fn heavy(text: &str) -> Vec<u8> {
    worker("", &weight(text), "i32.const 0")
}

/// Another process writes the file. If this process had it open for writing, a process that another test starts at that
/// moment would inherit the open file, and the kernel does not run a file that is open for writing.
fn write_program(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("cat > \"$0\" && chmod 755 \"$0\"").arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}
