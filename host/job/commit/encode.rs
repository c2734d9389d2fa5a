//! What the commit script is told of one job: its arguments, in the order in which `commit.lua`, `assume` and
//! `write` read them. Nothing here talks to Redis.

use std::borrow::Cow;

use super::super::change::{Assumption, Changes, Expiry, Page, Seen, Taken, Write};
use super::super::envelope::Header;
use super::super::key::QueueKeys;
use super::super::name::{HostId, JobId, QueueName};
use super::super::push::{WAIT_MS_MAX, notes};

/// Longest value that is sent to be compared; of a longer one length and digest are.
const VALUE_BYTES_MAX: usize = 256;

/// The arguments about one job.
#[derive(Debug)]
pub(super) struct Encoded<'a> {
    /// In order.
    pub(super) args: Vec<Cow<'a, [u8]>>,
    /// Their length together.
    pub(super) bytes: usize,
    /// What checking the assumptions costs Redis, in bytes (`Seen::work`).
    pub(super) work: u64,
    /// Whether it can make Redis hold more than before.
    pub(super) grows: bool,
}

/// Encodes the end of the job in `field` (of those in it, if there are blanks between), or changes that belong to no job. `host` keeps the records of `taken`.
pub(super) fn job<'a>(host: Option<&HostId>, field: String, changes: &'a Changes) -> Encoded<'a> {
    let mut out = Encoded { args: Vec::new(), bytes: 0, work: 0, grows: changes.writes.iter().any(grows) };
    out.text(field);
    // How many follow is known at the end.
    out.text("");
    changes.assumptions.iter().for_each(|assumption| out.assumption(assumption));
    if let Some(host) = host {
        changes.taken.iter().for_each(|taken| out.taken(host, taken));
    }
    changes.writes.iter().for_each(|write| out.write(write));
    out.args[1] = (out.args.len() - 2).to_string().into_bytes().into();
    out
}

/// Whether Redis may hold more afterwards.
fn grows(write: &Write) -> bool {
    match write {
        Write::Set { expiry, .. } => *expiry != Expiry::In(0),
        Write::Add { .. } | Write::Push { .. } | Write::PushJob { .. } => true,
        Write::Delete { .. } | Write::Expire { .. } | Write::Pop { .. } => false,
    }
}

impl<'a> Encoded<'a> {
    fn bytes(&mut self, arg: impl Into<Cow<'a, [u8]>>) {
        let arg = arg.into();
        self.bytes += arg.len();
        self.args.push(arg);
    }

    fn text(&mut self, arg: impl Into<Cow<'a, str>>) {
        match arg.into() {
            Cow::Borrowed(text) => self.bytes(text.as_bytes()),
            Cow::Owned(text) => self.bytes(text.into_bytes()),
        }
    }

    fn number(&mut self, arg: impl ToString) {
        self.text(arg.to_string());
    }

    fn words(&mut self, words: [&'a str; 2]) {
        words.into_iter().for_each(|word| self.text(word));
    }

    fn assumption(&mut self, assumption: &'a Assumption) {
        let Assumption { key, seen } = assumption;
        self.work += seen.work();
        match seen {
            Seen::Absent => self.words(["absent", key]),
            Seen::Present => self.words(["present", key]),
            Seen::Value(value) if value.len() <= VALUE_BYTES_MAX => {
                self.words(["value", key]);
                self.bytes(value.as_slice());
            }
            Seen::Value(value) => self.digest(key, value.len() as u64, sha1(value)),
            Seen::Long { length, sha1 } => self.digest(key, *length, sha1.as_str()),
            Seen::Longer(bytes) => {
                self.words(["longer", key]);
                self.number(bytes);
            }
            Seen::Expires(at_ms) => {
                self.words(["expires", key]);
                self.number(at_ms);
            }
            Seen::Length(length) => {
                self.words(["length", key]);
                self.number(length);
            }
            Seen::Range { start, stop, entries } => {
                self.words(["range", key]);
                self.number(start);
                self.number(stop);
                self.text(sha1_of_all(entries.iter().map(Vec::as_slice)));
                self.number(entries.iter().map(Vec::len).sum::<usize>());
            }
            Seen::Page(page) => self.page(key, page),
        }
    }

    fn digest(&mut self, key: &'a str, length: u64, sha1: impl Into<Cow<'a, str>>) {
        self.words(["digest", key]);
        self.number(length);
        self.text(sha1);
    }

    fn page(&mut self, pattern: &'a str, page: &'a Page) {
        self.words(["page", pattern]);
        self.number(page.cursor);
        self.number(page.looks);
        self.number(page.enough);
        self.number(page.key_bytes_max);
        self.number(page.next);
        self.number(page.keys.len());
        page.keys.iter().for_each(|key| self.bytes(key.as_slice()));
    }

    fn taken(&mut self, host: &HostId, taken: &'a Taken) {
        self.text("popped");
        self.text(QueueKeys::new(&taken.queue).inflight(host));
        self.words([&taken.field, taken.queue.as_str()]);
    }

    fn write(&mut self, write: &'a Write) {
        match write {
            Write::Set { key, expiry: Expiry::In(0), .. } | Write::Delete { key } => {
                self.words(["expire", key]);
                self.text("0");
            }
            Write::Set { key, value, expiry } => {
                let word = match expiry {
                    Expiry::Never => "set",
                    Expiry::Keep => "set_keep",
                    Expiry::In(_) => "set_for",
                };
                self.words([word, key]);
                self.bytes(value.as_slice());
                if let Expiry::In(ms) = expiry {
                    self.number(ms.min(&WAIT_MS_MAX));
                }
            }
            Write::Add { key, delta, expiry } => {
                self.words(["add", key]);
                self.number(delta);
                self.expiry("stay", key, *expiry);
            }
            Write::Expire { key, expiry } => self.expiry("expire", key, *expiry),
            Write::Pop { key, front, back } => {
                self.words(["pop", key]);
                self.number(front);
                self.number(back);
            }
            Write::Push { key, replaces, front, back, expiry } => {
                self.push(key, *replaces, front, back);
                self.expiry("stay", key, *expiry);
            }
            Write::PushJob { queue, id, payload, delay_ms, unique } => {
                self.push_job(queue, id, payload, *delay_ms, unique.as_ref());
            }
        }
    }

    fn push(&mut self, key: &'a str, replaces: bool, front: &'a [Vec<u8>], back: &'a [Vec<u8>]) {
        if let (false, [], [entry]) = (replaces, front, back) {
            self.words(["append", key]);
            return self.bytes(entry.as_slice());
        }
        self.words(["push", key]);
        self.number(u8::from(replaces));
        self.number(front.len());
        self.number(back.len());
        front.iter().chain(back).for_each(|entry| self.bytes(entry.as_slice()));
    }

    fn push_job(
        &mut self,
        queue: &QueueName,
        id: &'a JobId,
        payload: &'a [u8],
        delay_ms: Option<u64>,
        unique: Option<&(String, u64)>,
    ) {
        let keys = QueueKeys::new(queue);
        let mut header =
            Header { id: id.clone(), attempts: 0, crashes: 0, first_seen_ms: 0, notes: Vec::new() };
        if let Some((key, _)) = unique {
            header.set_note("!unique", key);
        }
        self.text("job");
        self.text(if delay_ms.is_some() { &keys.delayed } else { &keys.ready }.clone());
        self.text(delay_ms.map(|ms| ms.min(WAIT_MS_MAX).to_string()).unwrap_or_default());
        self.text(id.as_str());
        self.text(notes(&header));
        self.bytes(payload);
        self.text(unique.map(|(key, _)| keys.unique(key)).unwrap_or_default());
        self.number(unique.map_or(0, |(_, kept_ms)| (*kept_ms).clamp(1, WAIT_MS_MAX)));
    }

    fn expiry(&mut self, word: &'a str, key: &'a str, expiry: Expiry) {
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => {
                self.words([word, key]);
                self.text("never");
            }
            Expiry::In(ms) => {
                self.words([word, key]);
                self.number(ms.min(WAIT_MS_MAX));
            }
        }
    }
}

fn sha1(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).digest().to_string()
}

/// One digest for several strings: no two ways to divide the same bytes have the same one.
fn sha1_of_all<'b>(strings: impl Iterator<Item = &'b [u8]>) -> String {
    let mut digest = sha1_smol::Sha1::new();
    for string in strings {
        digest.update(format!("{}:", string.len()).as_bytes());
        digest.update(string);
    }
    digest.digest().to_string()
}
