//! The heap: from the end of the module's data to the end of its memory.
//!
//! All `unsafe` of the guests is here. A core module has one thread, so nothing is locked.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::ptr;

use crate::size_class::{self, COUNT, GRAIN};

/// Bytes of a page of WebAssembly memory.
const PAGE: usize = 65_536;

unsafe extern "C" {
    /// Where the linker's data ends; only its address means something.
    static __heap_base: u8;
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Blocks { next: 0, end: 0, free: [0; COUNT] }));

/// The allocator the whole guest uses.
struct Heap(UnsafeCell<Blocks>);

// SAFETY: a core module without the threads proposal has one thread.
unsafe impl Sync for Heap {}

/// Addresses, all multiples of `GRAIN`.
struct Blocks {
    /// Where the memory that was never handed out starts; 0 before the first call.
    next: usize,
    /// Where it ends.
    end: usize,
    /// The first free block of each class, 0 for none; a free block begins with the address of the next one.
    free: [usize; COUNT],
}

impl Blocks {
    /// `length` bytes that were never handed out, at a multiple of `align`; 0 when memory cannot grow.
    fn carve(&mut self, length: usize, align: usize) -> usize {
        if self.next == 0 {
            self.next = (&raw const __heap_base as usize).next_multiple_of(GRAIN);
            self.end = memory_size::<0>() * PAGE;
        }
        let start = self.next.next_multiple_of(align);
        let Some(after) = start.checked_add(length) else { return 0 };
        if after > self.end && !self.grow(after - self.end) {
            return 0;
        }
        self.next = after;
        start
    }

    /// Adds at least `bytes` to the end of the memory.
    fn grow(&mut self, bytes: usize) -> bool {
        let pages = bytes.div_ceil(PAGE);
        let grown = memory_grow::<0>(pages) != usize::MAX;
        if grown {
            self.end += pages * PAGE;
        }
        grown
    }
}

// SAFETY: blocks come from memory past the module's data, each handed out once until it is freed, aligned to
// `GRAIN` or, when carved, to more; the length of a block follows from its layout's size alone, the same way in
// every method. No method runs the guest's code, so no two mutable borrows of the cell overlap.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((class, length)) = size_class::of(layout.size()) else { return ptr::null_mut() };
        // SAFETY: see the implementation.
        let blocks = unsafe { &mut *self.0.get() };
        let free = blocks.free[class];
        if free == 0 || layout.align() > GRAIN {
            return blocks.carve(length, layout.align().max(GRAIN)) as *mut u8;
        }
        // SAFETY: a free block begins with the address of the next one.
        blocks.free[class] = unsafe { *(free as *const usize) };
        free as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((class, _)) = size_class::of(layout.size()) else { return };
        // SAFETY: see the implementation; the block is ours again and at least `GRAIN` long.
        unsafe {
            let blocks = &mut *self.0.get();
            *block.cast::<usize>() = blocks.free[class];
            blocks.free[class] = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some((_, old)), Some((_, new))) = (size_class::of(layout.size()), size_class::of(new_size))
        else {
            return ptr::null_mut();
        };
        if old == new {
            return block;
        }
        // SAFETY: see the implementation.
        let blocks = unsafe { &mut *self.0.get() };
        let start = block as usize;
        if start + old == blocks.next {
            // The last block carved: what grows step by step (a vector, a string) stays where it is.
            blocks.next = start;
            return match blocks.carve(new, GRAIN) {
                0 => {
                    blocks.next = start + old;
                    ptr::null_mut()
                }
                same => same as *mut u8,
            };
        }
        // SAFETY: the caller's promises about `block` and `layout` are those of `alloc` and `dealloc`.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
