//! The queue against a disk that is full, blocks, and works again.

use std::sync::{Mutex, PoisonError};

use super::*;

/// Longest wait of a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A disk that can be full, and that blocks while its lock is held.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    text: String,
    /// Bytes that still fit; none: no limit.
    room: Option<usize>,
}

impl Disk {
    fn set_room(&self, room: Option<usize>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).room = room;
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = content.room.unwrap_or(usize::MAX).min(bytes.len());
        if fits == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        content.room = content.room.map(|room| room - fits);
        content.text.push_str(std::str::from_utf8(&bytes[..fits]).unwrap());
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn outlet(disk: &Disk) -> Outlet {
    Outlet::start(disk.clone(), |dropped| format!("dropped {dropped}\n").into_bytes()).unwrap()
}

#[test]
fn lines_lost_on_a_full_disk_are_reported_where_they_are_missing() {
    let disk = Disk::default();
    let outlet = outlet(&disk);
    outlet.send(b"one\n");
    outlet.flush(PATIENCE);
    disk.set_room(Some(2));
    outlet.send(b"two\n");
    outlet.send(b"three\n");
    outlet.flush(PATIENCE);
    assert_eq!(disk.text(), "one\ntw", "there is no room for more");
    disk.set_room(None);
    outlet.send(b"four\n");
    outlet.flush(PATIENCE);
    assert_eq!(disk.text(), "one\ntw\ndropped 2\nfour\n", "a torn line ends before the report begins");
}

#[test]
fn lost_lines_are_reported_even_if_no_further_line_is_logged() {
    let disk = Disk::default();
    let outlet = outlet(&disk);
    disk.set_room(Some(0));
    outlet.send(b"one\n");
    outlet.flush(PATIENCE);
    disk.set_room(None);
    let begun = Instant::now();
    while disk.text() != "dropped 1\n" {
        assert!(begun.elapsed() < PATIENCE, "{:?}", disk.text());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn logging_does_not_wait_for_a_reader_and_the_queue_is_bounded_by_bytes_and_lines() {
    for (length, fit) in [(BYTES_MAX / 4, 4), (2, LINES_MAX)] {
        let disk = Disk::default();
        let outlet = outlet(&disk);
        let line = format!("{}\n", "x".repeat(length - 1));
        let held = disk.0.lock().unwrap();
        // Nothing is written, and still all these calls return. The thread may hold one line itself.
        (0..fit + 10).for_each(|_| outlet.send(line.as_bytes()));
        let dropped = outlet.load.dropped.load(SeqCst);
        assert!((9..=10).contains(&dropped), "{dropped} of {}", fit + 10);
        assert!(outlet.load.bytes.load(SeqCst) <= BYTES_MAX);
        // The end of a process does not wait either.
        outlet.flush(Duration::from_millis(20));
        drop(held);
        outlet.flush(PATIENCE);
        let (text, kept) = (disk.text(), fit as u64 + 10 - dropped);
        assert_eq!(text.lines().filter(|line| line.len() == length - 1).count() as u64, kept);
        assert!(text.contains(&format!("dropped {dropped}\n")), "{:?}", text.lines().last());
    }
}

#[test]
fn a_report_does_not_pass_the_queue() {
    let disk = Disk::default();
    let outlet = outlet(&disk);
    let line = logged(|| (&outlet).write_all(b"report\n").unwrap());
    assert_eq!(line, b"report\n");
    (&outlet).write_all(b"line\n").unwrap();
    outlet.flush(PATIENCE);
    assert_eq!(disk.text(), "line\n");
}
