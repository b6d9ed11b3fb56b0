//! Threads that share pieces of one small job after another, awake in between: waking a thread costs as much as a product of
//! 32 rows.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A piece of work, by its number.
type Job = *const (dyn Fn(usize) + Sync);

/// One thread that hands out work and those of its pool that are free to help.
pub struct SpinPool {
    /// Round, pieces of it, and the next one to take; changed as one.
    word: AtomicU64,
    finished: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    joined: AtomicBool,
    over: AtomicBool,
}

// SAFETY: the job is written only while no piece of a round is left, and read only by who holds one.
unsafe impl Sync for SpinPool {}

const PIECES: u32 = 16;
const ROUND: u32 = 32;

impl SpinPool {
    /// Runs `work` on this thread. The other threads of the pool join when they are free; none has to.
    pub fn scope<T>(work: impl FnOnce(&SpinPool) -> T) -> T {
        let spin = SpinPool {
            word: AtomicU64::new(0),
            finished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            joined: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        rayon::in_place_scope(|scope| {
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| {
                    spin.joined.store(true, Ordering::Relaxed);
                    wait(|| {
                        while spin.take() {}
                        spin.over.load(Ordering::Acquire)
                    })
                });
            }
            let _over = Over(&spin.over);
            work(&spin)
        })
    }

    /// Itself once another thread has joined; until then work is not worth cutting.
    pub fn ready(&self) -> Option<&SpinPool> {
        self.joined.load(Ordering::Relaxed).then_some(self)
    }

    /// Calls `piece` for `0..pieces` (at most 65,535), each number once, and returns when all are done.
    pub fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        assert!(pieces < 1 << PIECES);
        // SAFETY: only the lifetime changes; the job is not called after this function returns, see `take`.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(piece) };
        // SAFETY: all pieces of the last round are finished, so nobody reads it.
        unsafe { *self.job.get() = Some(job) };
        self.finished.store(0, Ordering::Relaxed);
        let round = (self.word.load(Ordering::Relaxed) >> ROUND) + 1;
        self.word.store(round << ROUND | (pieces as u64) << PIECES, Ordering::Release);
        /// Waits for the pieces that were taken; after a panic here the others are not taken any more.
        struct Taken<'a>(&'a SpinPool);
        impl Drop for Taken<'_> {
            fn drop(&mut self) {
                let word = self.0.word.fetch_and(!0 << ROUND, Ordering::AcqRel);
                wait(|| self.0.finished.load(Ordering::Acquire) as u64 == word & 0xffff);
            }
        }
        let _taken = Taken(self);
        while self.take() {}
    }

    /// [`SpinPool::run`] of a slice: pieces of `size` values, the last one shorter.
    pub fn chunks<T: Send>(&self, values: &mut [T], size: usize, piece: impl Fn(usize, &mut [T]) + Sync) {
        let (len, start) = (values.len(), Shared(values.as_mut_ptr()));
        self.run(len.div_ceil(size), &|i| {
            let at = i * size;
            // SAFETY: pieces are disjoint and inside the slice, which is borrowed until all are done.
            piece(i, unsafe { std::slice::from_raw_parts_mut(start.get().add(at), size.min(len - at)) });
        });
    }

    /// Does a piece of the present round, if one is left.
    fn take(&self) -> bool {
        let word = self.word.load(Ordering::Acquire);
        let (next, pieces) = (word & 0xffff, word >> PIECES & 0xffff);
        if next == pieces || self.word.compare_exchange(word, word + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // another took it, or the round changed: look again, unless there was none
            return next != pieces;
        }
        struct Finished<'a>(&'a AtomicUsize);
        impl Drop for Finished<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Release);
            }
        }
        // also after a panic, which the pool hands to the caller in the end
        let _finished = Finished(&self.finished);
        // SAFETY: this piece is not finished, so the round is not over and its job lives.
        unsafe {
            if let Some(job) = *self.job.get() {
                (*job)(next as usize);
            }
        }
        true
    }
}

/// The start of values that the threads of a team write, each its own.
pub(super) struct Shared<T>(pub(super) *mut T);

// SAFETY: it only hands the pointer out; who follows it vouches that no two threads meet.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn get(&self) -> *mut T {
        self.0
    }
}

/// Spins, then yields.
fn wait(mut done: impl FnMut() -> bool) {
    let mut looks = 0u32;
    while !done() {
        looks += 1;
        if looks.is_multiple_of(1 << 12) { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_piece_is_done_once_in_every_round() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut values = vec![0u32; 1000];
            pool.install(|| {
                SpinPool::scope(|spin| {
                    for round in 0..3000usize {
                        let size = round % 7 * 40 + 1;
                        spin.chunks(&mut values[..round % 301], size, |i, part| {
                            assert!(part.len() <= size && i < 301);
                            part.iter_mut().for_each(|v| *v += 1);
                        });
                    }
                })
            });
            let want = |at: usize| (0..3000).filter(|round| round % 301 > at).count() as u32;
            assert!(values.iter().enumerate().all(|(at, v)| *v == want(at)), "{threads} threads");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for bad in [0, 7, 63] {
            let ran = || SpinPool::scope(|spin| spin.run(64, &|i| assert!(i != bad, "piece {i}")));
            assert!(catch_unwind(AssertUnwindSafe(|| pool.install(ran))).is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            SpinPool::scope(|spin| {
                spin.run(64, &|i| {
                    sum.fetch_add(i, Ordering::Relaxed);
                })
            });
        });
        assert_eq!(sum.into_inner(), 64 * 63 / 2);
    }
}
