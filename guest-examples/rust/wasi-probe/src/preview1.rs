//! The few functions of WASI preview 1 the probe calls, declared by hand so that no WASI target is needed.

/// What a call answers besides 0.
type Errno = i32;

/// A pointer and a length, as `fd_write` takes them.
#[repr(C)]
struct Slice {
    start: *const u8,
    length: usize,
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: i32, precision: i64, time: *mut u64) -> Errno;
    fn environ_sizes_get(count: *mut usize, bytes: *mut usize) -> Errno;
    fn fd_prestat_get(descriptor: i32, prestat: *mut [u32; 2]) -> Errno;
    fn fd_write(descriptor: i32, slices: *const Slice, count: usize, written: *mut usize) -> Errno;
    fn poll_oneoff(
        subscriptions: *const [u64; 6],
        events: *mut [u64; 4],
        count: usize,
        seen: *mut usize,
    ) -> Errno;
    fn proc_exit(code: i32) -> !;
    fn random_get(start: *mut u8, length: usize) -> Errno;
}

/// Wall clock, nanoseconds.
pub(crate) fn clock_ns() -> Result<u64, Errno> {
    let mut time = 0;
    // SAFETY: the pointer is valid for the call.
    checked(unsafe { clock_time_get(0, 1, &raw mut time) }).map(|()| time)
}

/// Waits on the monotonic clock.
pub(crate) fn sleep_ms(ms: u64) -> Result<String, Errno> {
    // User data, tag (clock), clock (monotonic), time-out, precision, flags (relative).
    let subscription = [0, 0, 1, ms * 1_000_000, 0, 0];
    let (mut event, mut seen) = ([0; 4], 0);
    // SAFETY: the pointers are valid for the call, and the layouts are those of preview 1.
    checked(unsafe { poll_oneoff(&raw const subscription, &raw mut event, 1, &raw mut seen) })
        .map(|()| String::new())
}

/// Writes a line to standard output (1) or standard error (2).
pub(crate) fn write(descriptor: i32, text: &str) -> Result<String, Errno> {
    let line = format!("{text}\n");
    let slice = Slice { start: line.as_ptr(), length: line.len() };
    let mut written = 0;
    // SAFETY: the slice and the pointers are valid for the call.
    checked(unsafe { fd_write(descriptor, &raw const slice, 1, &raw mut written) })
        .map(|()| written.to_string())
}

/// Random bytes.
pub(crate) fn random() -> Result<[u8; 16], Errno> {
    let mut bytes = [0; 16];
    // SAFETY: the buffer is as long as it says.
    checked(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) }).map(|()| bytes)
}

/// Number of variables in the environment.
pub(crate) fn environment_size() -> Result<usize, Errno> {
    let (mut count, mut bytes) = (0, 0);
    // SAFETY: the pointers are valid for the call.
    checked(unsafe { environ_sizes_get(&raw mut count, &raw mut bytes) }).map(|()| count)
}

/// Number of folders the host opened for the guest; they start at descriptor 3.
pub(crate) fn folders() -> usize {
    let mut prestat = [0; 2];
    // SAFETY: the pointer is valid for the call.
    (3..).take_while(|descriptor| unsafe { fd_prestat_get(*descriptor, &raw mut prestat) } == 0).count()
}

/// Ends the run.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes a number, does not return.
    unsafe { proc_exit(code) }
}

fn checked(errno: Errno) -> Result<(), Errno> {
    if errno == 0 { Ok(()) } else { Err(errno) }
}
