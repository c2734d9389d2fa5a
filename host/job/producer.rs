//! Scripts for producers in any language: texts that any Redis client can load and call. What a script takes and
//! answers stands in its own first lines, which are part of the text.

use super::script;
use crate::storage::script::Script;

/// A script to be called by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its text, without a line feed at its end: shells take that off.
    pub text: &'static str,
    /// The digest of the text: the name by which Redis knows it.
    pub sha1: String,
}

/// All of them.
pub fn scripts() -> Vec<Shipped> {
    vec![
        shipped("push", "pushes a job with options", &script::PRODUCER_PUSH),
        shipped("result", "tells what became of a job whose result was asked for", &script::PRODUCER_RESULT),
    ]
}

fn shipped(name: &'static str, about: &'static str, script: &'static Script) -> Shipped {
    let text = script.source().trim_end();
    Shipped { name, about, text, sha1: sha1_smol::Sha1::from(text).digest().to_string() }
}

impl Shipped {
    /// What it takes and answers, in its own words: the comments before its own code, without their marks.
    pub fn contract(&self) -> String {
        let from = self.text.find("-- Sandhog: ").unwrap_or(0);
        let lines = self.text[from..].lines().take_while(|line| line.starts_with("--"));
        lines.map(|line| line.trim_start_matches("--").trim_start_matches(' ')).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_tells_what_it_takes() {
        for script in scripts() {
            let contract = script.contract();
            for word in ["KEYS", "ARGV", "Reply"] {
                assert!(contract.contains(word), "{}: {contract}", script.name);
            }
            assert!(script.text.starts_with("#!lua") && !script.text.ends_with('\n'));
        }
    }
}
