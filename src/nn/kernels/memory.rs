//! Big buffers on 2 MiB pages: with 4 KiB pages the same products run up to 1.9 times slower where memory is wide, and a
//! training step that takes and gives back half a gigabyte of them spends up to a third of its time on page faults.
//!
//! They come straight from the system, already zero, and go straight back: the allocator keeps what has this size. What comes
//! and goes all the time is a block of [`BlockPool`].

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

const SMALL: usize = 64;
/// Values of 32 bits on a cache line.
const LINE: usize = 16;
const PAGE: usize = 2 << 20;
/// What ends a mapping: a last big page would mostly stay empty.
#[cfg(target_os = "linux")]
const SMALL_PAGE: usize = 4 << 10;

/// A fixed number of zero-initialised values, aligned to a cache line, and to 2 MiB pages where it is large.
pub struct Buffer<T: Copy> {
    data: NonNull<T>,
    len: usize,
    /// Whose values `data` are; none where there are none.
    _memory: Option<Arc<Memory>>,
}

/// The memory of a buffer, or of the parts that one was cut into; it is given back when the last of them goes.
struct Memory {
    data: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a Buffer owns its values as a Vec does; other parts of the same memory hold other values.
unsafe impl<T: Copy + Send> Send for Buffer<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Copy + Sync> Sync for Buffer<T> {}
// SAFETY: only its end touches the memory, when nobody else has it.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        let (data, layout) = (self.data.as_ptr(), self.layout);
        // SAFETY: allocated in `Buffer::new` with this very layout.
        unsafe { if layout.size() < PAGE { dealloc(data, layout) } else { give(data, layout) } }
    }
}

impl<T: bytemuck::Pod> Buffer<T> {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        if len == 0 {
            return Buffer { data: NonNull::dangling(), len, _memory: None };
        }
        let size = len * size_of::<T>();
        let align = if size >= PAGE { PAGE } else { SMALL };
        let layout = Layout::from_size_align(size, align).expect("a size below half the address space");
        // SAFETY: the layout has a size above zero; all-zero bytes are a value of any `Pod`.
        let data = unsafe { if layout.size() < PAGE { alloc_zeroed(layout) } else { take(layout) } };
        let Some(data) = NonNull::new(data) else { handle_alloc_error(layout) };
        Buffer { data: data.cast(), len, _memory: Some(Arc::new(Memory { data, layout })) }
    }
    /// Cuts the first values into parts of so many each, which lie on their own cache lines ([`padded_len`]).
    ///
    /// # Panics
    /// They are more than there are, or values of `U` have another size.
    pub fn split<U: bytemuck::Pod>(self, sizes: &[usize]) -> Vec<Buffer<U>> {
        assert!(
            size_of::<T>() == size_of::<U>() && align_of::<T>() == align_of::<U>() && padded_len(sizes) <= self.len
        );
        let mut start = 0;
        let part = |&len: &usize| {
            // SAFETY: within the values, by the assertion, and in no other part; any bytes are a value of a `Pod`.
            let data = unsafe { self.data.add(start) }.cast();
            start += len.next_multiple_of(LINE);
            Buffer { data, len, _memory: self._memory.clone() }
        };
        sizes.iter().map(part).collect()
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

/// Values of which [`Buffer::split`] makes such parts.
pub fn padded_len(sizes: &[usize]) -> usize {
    sizes.iter().map(|size| size.next_multiple_of(LINE)).sum()
}

/// Buffers of one size that are taken, used in parts, and taken again when all their parts are gone.
#[derive(Default)]
pub struct BlockPool {
    list: Vec<Arc<Memory>>,
    len: usize,
}

impl BlockPool {
    /// At least `len` values, whatever was left in them.
    pub fn take(&mut self, len: usize) -> Buffer<u32> {
        if self.len < len {
            // all are too small: who has one may keep it
            (self.list, self.len) = (Vec::new(), len.next_multiple_of(PAGE / 16));
        }
        match self.list.iter_mut().find_map(|memory| Arc::get_mut(memory).is_some().then(|| memory.clone())) {
            // nobody else has this memory
            Some(memory) => Buffer { data: memory.data.cast(), len: self.len, _memory: Some(memory) },
            None => {
                let new = Buffer::new(self.len);
                self.list.extend(new._memory.clone());
                new
            }
        }
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
    // SAFETY: a fresh mapping of a page more, of which what is before and after the aligned range is given back.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_apart_and_hold_what_they_should() {
        let sizes = [3, 0, 16, 17, 1 << 20];
        let mut parts = Buffer::<u32>::new(padded_len(&sizes)).split::<f32>(&sizes);
        for (i, part) in parts.iter_mut().enumerate() {
            assert!(
                part.len() == sizes[i] && part.as_ptr().addr().is_multiple_of(64) && part.iter().all(|v| *v == 0.0)
            );
            part.fill(i as f32 + 1.0);
        }
        drop(parts.remove(1));
        for (part, value) in parts.iter().zip([1.0, 3.0, 4.0, 5.0]) {
            assert!(part.iter().all(|v| *v == value));
        }
        let copy = parts[3].clone();
        drop(parts);
        assert!(copy.iter().all(|v| *v == 5.0));
    }

    #[test]
    fn a_block_is_taken_again_when_its_last_part_is_gone() {
        let mut blocks = BlockPool::default();
        let (one, other) = (blocks.take(100), blocks.take(100));
        let (at_one, at_other) = (one.as_ptr(), other.as_ptr());
        assert_ne!(at_one, at_other);
        let mut parts = one.split::<u32>(&[10, 20]);
        parts.pop();
        let third = blocks.take(100);
        assert!(third.as_ptr() != at_one, "a part is still there");
        drop(parts);
        assert_eq!(blocks.take(50).as_ptr(), at_one);
        let mut bigger = blocks.take(1 << 20);
        bigger.fill(7);
        drop((other, third));
        assert_ne!(blocks.take(1 << 20).as_ptr(), bigger.as_ptr());
        assert!(bigger.iter().all(|v| *v == 7));
    }
}
