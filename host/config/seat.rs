//! The host's seat: a file lock that makes this host the only living one of its name and number on this
//! machine, so that after a restart it may take back at once what its former life left. What is taken back is
//! in `job`.
//!
//! A copy of the file, in a machine image or a restored volume, has the same number on another machine. So a seat
//! also has an origin: this machine since its last boot, and this very file. Only an earlier life with the same
//! origin is certain to be dead.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A random id that the kernel generates at each boot; all containers of a machine read the same one.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Hosts of one name on one machine that can have a seat.
const SEATS_MAX: u32 = 64;

/// A seat; it is free again when this value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Seat {
    /// The seat's number: random, written once, kept for later lives.
    pub number: u32,
    /// Why the seat is not kept, so that a restart has to wait for the lease; none on a seat with a lock.
    pub warning: Option<String>,
    /// This machine since its last boot, and the file (device and inode); empty without a file, or without a boot id.
    pub origin: String,
    /// Holds the lock.
    file: Option<(File, PathBuf)>,
}

impl Seat {
    /// Takes the first free seat of `name` in `state_dir`; a random one if the folder cannot be used.
    pub fn take(state_dir: &Path, name: &str) -> Self {
        match Self::lock(state_dir, name) {
            Ok(seat) => seat,
            Err(error) => {
                let dir = state_dir.display();
                let warning = format!(
                    "no seat in `{dir}`: {error}; after a restart this host waits for its former lease to run out"
                );
                let (number, origin) = (fastrand::u32(..), String::new());
                Self { number, warning: Some(warning), origin, file: None }
            }
        }
    }

    /// The file behind the seat, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, path)| path.as_path())
    }

    /// Draws another number, because another live host has this one; it is new even if it cannot be written.
    ///
    /// # Errors
    ///
    /// The new number could not be written to the file.
    pub fn redraw(&mut self) -> io::Result<()> {
        self.number = fastrand::u32(..);
        match &mut self.file {
            Some((file, _)) => write(file, self.number),
            None => Ok(()),
        }
    }

    fn lock(state_dir: &Path, name: &str) -> io::Result<Self> {
        std::fs::create_dir_all(state_dir)?;
        for n in 1..=SEATS_MAX {
            let path = state_dir.join(format!("{name}.{n}.seat"));
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let number = number_in(&mut file)?;
            let origin = origin_of(&file)?;
            return Ok(Self { number, warning: None, origin, file: Some((file, path)) });
        }
        Err(io::Error::other(format!("all {SEATS_MAX} seats of `{name}` are taken")))
    }
}

/// The number in the file; a new one is written if there is none.
fn number_in(file: &mut File) -> io::Result<u32> {
    let mut text = String::new();
    // A file that is not text holds no number.
    let _ = (&*file).take(64).read_to_string(&mut text);
    let text = text.trim();
    if text.len() == 8
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && let Ok(number) = u32::from_str_radix(text, 16)
    {
        return Ok(number);
    }
    let number = fastrand::u32(..);
    write(file, number)?;
    Ok(number)
}

fn write(file: &mut File, number: u32) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "{number:08x}")?;
    file.sync_all()
}

/// What distinguishes this file on this machine, since its last boot, from every copy.
fn origin_of(file: &File) -> io::Result<String> {
    let about = file.metadata()?;
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let boot = boot.trim();
    if boot.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("{boot}:{:x}:{:x}", about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_seat_has_the_same_number_and_another_origin() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let seat = Seat::take(&one, "h");
        std::fs::create_dir(&other).unwrap();
        std::fs::copy(one.join("h.1.seat"), other.join("h.1.seat")).unwrap();
        let mut copy = Seat::take(&other, "h");
        assert_eq!(copy.number, seat.number);
        assert!(!seat.origin.is_empty() && copy.origin != seat.origin, "{} {}", seat.origin, copy.origin);
        let origin = seat.origin.clone();
        drop(seat);
        assert_eq!(Seat::take(&one, "h").origin, origin, "the same file is known again");

        let before = copy.number;
        copy.redraw().unwrap();
        assert_ne!(copy.number, before);
        let drawn = copy.number;
        drop(copy);
        let mut copy = Seat::take(&other, "h");
        assert_eq!(copy.number, drawn, "a number that was drawn is kept");

        let path = other.join("h.1.seat");
        copy.file = Some((File::open(&path).unwrap(), path));
        assert!(copy.redraw().is_err());
        assert_ne!(copy.number, drawn, "one that cannot be written is drawn all the same");
    }

    #[test]
    fn a_seat_is_kept_through_lives_and_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let first = Seat::take(&state, "web1");
        let second = Seat::take(&state, "web1");
        assert!(first.warning.is_none() && second.warning.is_none());
        assert_eq!(first.path(), Some(state.join("web1.1.seat").as_path()));
        assert_eq!(second.path(), Some(state.join("web1.2.seat").as_path()));
        let number = first.number;
        drop(first);
        let again = Seat::take(&state, "web1");
        assert_eq!((again.number, again.path()), (number, Some(state.join("web1.1.seat").as_path())));
        let other = Seat::take(&state, "web2");
        assert_eq!(other.path(), Some(state.join("web2.1.seat").as_path()));
    }

    #[test]
    fn a_damaged_file_gets_a_new_number() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [&b""[..], b"zzzzzzzz", b"12345", b"\xff\xfe", b"+1234567", &[b'0'; 5000]] {
            std::fs::write(dir.path().join("h.1.seat"), bad).unwrap();
            let number = Seat::take(dir.path(), "h").number;
            let text = std::fs::read_to_string(dir.path().join("h.1.seat")).unwrap();
            assert_eq!(text, format!("{number:08x}\n"), "{bad:?}");
            assert_eq!(Seat::take(dir.path(), "h").number, number);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_costs_the_lock_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let seat = Seat::take(&file.join("state"), "h");
        assert!(seat.path().is_none());
        let warning = seat.warning.unwrap();
        assert!(warning.starts_with("no seat in `") && warning.contains("Not a directory"), "{warning}");
    }

    #[test]
    fn there_are_sixty_four_seats() {
        let dir = tempfile::tempdir().unwrap();
        let seats: Vec<Seat> = (0..64).map(|_| Seat::take(dir.path(), "h")).collect();
        assert!(seats.iter().all(|seat| seat.path().is_some()));
        let warning = Seat::take(dir.path(), "h").warning.unwrap();
        assert!(warning.contains("all 64 seats of `h` are taken"), "{warning}");
    }
}
