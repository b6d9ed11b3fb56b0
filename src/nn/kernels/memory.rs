//! Big buffers on 2 MiB pages: with 4 KiB pages the same products run up to 1.9 times slower where memory is wide, and a
//! training step that takes and gives back half a gigabyte of them spends a third of its time on page faults.
//!
//! They come straight from the system, already zero, and go straight back: the allocator keeps what has this size.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const SMALL: usize = 64;
const PAGE: usize = 2 << 20;
/// What ends a mapping: a last big page would mostly stay empty.
#[cfg(target_os = "linux")]
const SMALL_PAGE: usize = 4 << 10;

/// A fixed number of zero-initialised values, aligned to a cache line, and to 2 MiB pages where it is large.
pub struct Buffer<T: Copy> {
    data: NonNull<T>,
    len: usize,
}

// SAFETY: a Buffer owns its memory as a Vec does.
unsafe impl<T: Copy + Send> Send for Buffer<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Copy + Sync> Sync for Buffer<T> {}

impl<T: bytemuck::Pod> Buffer<T> {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        if len == 0 {
            return Buffer { data: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout has a size above zero; all-zero bytes are a value of any `Pod`.
        let data = unsafe { if layout.size() < PAGE { alloc_zeroed(layout) } else { take(layout) } };
        let Some(data) = NonNull::new(data) else { handle_alloc_error(layout) };
        Buffer { data: data.cast(), len }
    }
    /// A copy of a slice.
    pub fn from_slice(values: &[T]) -> Self {
        let mut buffer = Self::new(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
    /// At least `len` values, old ones forgotten where it must grow.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            // the old memory goes first, or both would count
            *self = Self::default();
            *self = Self::new(len.next_multiple_of(1024));
        }
    }
}

impl<T: Copy> Buffer<T> {
    fn layout(len: usize) -> Layout {
        let size = len * size_of::<T>();
        let align = if size >= PAGE { PAGE } else { SMALL };
        Layout::from_size_align(size, align).expect("a size that was allocated before")
    }
}

impl<T: bytemuck::Pod> Default for Buffer<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T: bytemuck::Pod> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Copy + std::fmt::Debug> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Copy + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Copy> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            let (data, layout) = (self.data.as_ptr().cast(), Self::layout(self.len));
            // SAFETY: allocated in `new` with this very layout.
            unsafe { if layout.size() < PAGE { dealloc(data, layout) } else { give(data, layout) } }
        }
    }
}

impl<T: Copy> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised values, or a dangling pointer with none.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

/// Zeros of a layout aligned to 2 MiB, null where there is no memory. A refusal of big pages costs speed only.
///
/// # Safety
/// As for [`alloc_zeroed`].
#[cfg(target_os = "linux")]
unsafe fn take(layout: Layout) -> *mut u8 {
    let size = layout.size().next_multiple_of(SMALL_PAGE);
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping of a page more, of which what lies before and behind the aligned range is given back.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), size + PAGE, access, kind, -1, 0);
        if start == libc::MAP_FAILED {
            return std::ptr::null_mut();
        }
        let before = start.align_offset(PAGE);
        let data = start.byte_add(before);
        if before > 0 {
            libc::munmap(start, before);
        }
        if before < PAGE {
            libc::munmap(data.byte_add(size), PAGE - before);
        }
        libc::madvise(data, size, libc::MADV_HUGEPAGE);
        data.cast()
    }
}

/// Gives back what [`take`] gave.
///
/// # Safety
/// As for [`dealloc`].
#[cfg(target_os = "linux")]
unsafe fn give(data: *mut u8, layout: Layout) {
    // SAFETY: the whole range that `take` left mapped.
    unsafe { libc::munmap(data.cast(), layout.size().next_multiple_of(SMALL_PAGE)) };
}

#[cfg(not(target_os = "linux"))]
use std::alloc::{alloc_zeroed as take, dealloc as give};
