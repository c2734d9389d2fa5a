//! Size classes: four to each doubling, so that a block is at most a quarter larger than what was asked for.

/// Every block starts at, and is as long as, a multiple of this many bytes.
pub(crate) const GRAIN: usize = 16;

/// Number of classes: four up to 64 bytes, then four to each doubling up to 2 GiB.
pub(crate) const COUNT: usize = 4 + 4 * 25;

/// The class of blocks that hold `size` bytes, and how long they are; none beyond 2 GiB.
pub(crate) fn of(size: usize) -> Option<(usize, usize)> {
    if size > 1 << 31 {
        return None;
    }
    let last = size.max(1) - 1;
    if last < 4 * GRAIN {
        let class = last / GRAIN;
        return Some((class, (class + 1) * GRAIN));
    }
    let doubling = last.ilog2() as usize;
    let step = doubling - 2;
    let quarter = last >> step;
    Some((4 + 4 * (doubling - 6) + (quarter & 3), (quarter + 1) << step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_was_asked_for_and_little_more() {
        let mut before = (0, 0);
        for size in (0..100_000).chain([1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31]) {
            let (class, length) = of(size).unwrap();
            assert!(length >= size && length % GRAIN == 0, "{size}: {length}");
            assert!(length <= size.max(1) + GRAIN.max(size / 4), "{size}: {length}");
            assert!(class < COUNT, "{size}: class {class}");
            assert!(class >= before.0 && length >= before.1, "{size}");
            assert_eq!(
                class == before.0,
                length == before.1 || before.1 == 0,
                "{size}: one length per class"
            );
            before = (class, length);
        }
        assert_eq!(of((1 << 31) + 1), None);
    }
}
