//! Threads that wait for parts of one image without falling asleep between its layers.
//!
//! A layer takes some ten microseconds, less than waking a thread may take, so that threads which sleep between two of
//! them would come too late.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::hint;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::io;
use std::sync::{Condvar, Mutex, PoisonError, TryLockError, mpsc};
use std::thread::{self, JoinHandle};

use onebit_model::memory::{THREAD_BYTES, has_room};

use crate::exec::MAX_PARTS;

/// How often a thread looks for work before it sleeps: for some 50 microseconds.
const SPIN_LIMIT: u32 = 2000;

/// Most threads of a pool. Most of so many have nothing to do, and a program that asks for thousands is stopped by the
/// system before it can be told.
const MAX_POOL_THREADS: usize = 256;

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Starts a thread.
type Spawn<'a> = dyn FnMut(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> + 'a;

/// Threads that compute one image together; see [`Engine::run_with`](crate::Engine::run_with).
pub struct ThreadPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the caller whose work is done.
    run_lock: Mutex<()>,
}

struct Shared {
    /// What there is to claim: [`Tickets`].
    tickets: AtomicU64,
    /// What to do; read by those who have claimed a part, and written when no part is claimed.
    work: UnsafeCell<Option<&'static Work<'static>>>,
    /// Parts that are done.
    done: AtomicUsize,
    has_panicked: AtomicBool,
    is_over: AtomicBool,
    sleepers: AtomicUsize,
    sleep_lock: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `work` is `Sync`, so that all may call it, and `Shared::work` says when it is written.
unsafe impl Sync for Shared {}
// SAFETY: a reference to what is `Sync` may go to another thread.
unsafe impl Send for Shared {}

/// A count of calls of [`ThreadPool::run`], the parts of the last, and the first that nobody has claimed.
#[derive(Clone, Copy)]
struct Tickets(u64);

impl Tickets {
    fn new(call: u64, parts: u16) -> Self {
        Tickets(call << 32 | u64::from(parts) << 16)
    }

    fn call(self) -> u64 {
        self.0 >> 32
    }

    fn next(self) -> Option<usize> {
        let (parts, next) = (self.0 >> 16 & 0xffff, self.0 & 0xffff);
        (next < parts).then_some(next as usize)
    }
}

impl ThreadPool {
    /// Most threads that share an image.
    pub const MAX_THREADS: usize = MAX_PARTS;

    /// Starts `threads` less one: the caller of [`Engine::run_with`](crate::Engine::run_with) is one of them.
    ///
    /// # Errors
    /// More than 256 threads, or the system gives no thread or no memory for one; those that it has given have ended then.
    pub fn new(threads: usize) -> io::Result<Self> {
        ThreadPool::start(threads, &mut start_thread)
    }

    fn start(threads: usize, spawn: &mut Spawn<'_>) -> io::Result<Self> {
        if threads > MAX_POOL_THREADS {
            let refused =
                format!("a thread pool of {threads} threads, expected at most {MAX_POOL_THREADS}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refused));
        }
        let shared = Arc::new(Shared {
            tickets: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            done: AtomicUsize::new(0),
            has_panicked: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep_lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = ThreadPool { shared, threads: Vec::new(), run_lock: Mutex::new(()) };
        for _ in 1..threads {
            let shared = Arc::clone(&pool.shared);
            pool.threads.push(spawn(Box::new(move || shared.serve()))?);
        }
        Ok(pool)
    }

    /// How many there are, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        1 + self.threads.len()
    }

    /// Calls `work` with every number below `parts`, at the same time as far as there are threads.
    ///
    /// # Panics
    /// `work` panics, or calls this function of the same pool; or there are more than 65,535 parts.
    pub(crate) fn run(&self, parts: usize, work: &Work<'_>) {
        let _running = match self.run_lock.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a thread pool does one work at a time"),
        };
        let parts = u16::try_from(parts).expect("few parts");
        let shared = &*self.shared;
        // SAFETY: the reference is used by those who have claimed a part only, and this function does not return before
        // all parts are done (`Finished` waits for them even when `work` panics here).
        let work = unsafe { mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        // SAFETY: all parts of the call before are done, so nobody reads it.
        unsafe { *shared.work.get() = Some(work) };
        shared.done.store(0, Ordering::Relaxed);
        shared.has_panicked.store(false, Ordering::Relaxed);
        let call = Tickets(shared.tickets.load(Ordering::Relaxed)).call() + 1;
        let finished = Finished { shared, parts: usize::from(parts) };
        shared.tickets.store(Tickets::new(call & 0xffff_ffff, parts).0, Ordering::SeqCst);
        shared.wake_all();
        while shared.do_part() {}
        drop(finished);
        assert!(!shared.has_panicked.load(Ordering::Relaxed), "a part has panicked");
    }
}

/// Refuses to start a thread for which there is no memory: one that has begun and finds none ends the program.
///
/// # Errors
/// Less memory than a thread takes ([`io::ErrorKind::OutOfMemory`]).
pub fn check_thread() -> io::Result<()> {
    if has_room(THREAD_BYTES) { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

/// Starts a thread, and waits until it has begun, so that the next one finds the memory that this one has left.
///
/// # Errors
/// As [`check_thread`], or the system gives no thread.
pub fn start_thread(serve: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    check_thread()?;
    let (begun, has_begun) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().spawn(move || {
        // The allocator gives a thread its memory when it asks for some.
        drop(hint::black_box(Box::new(0u8)));
        if begun.send(()).is_ok() {
            serve();
        }
    })?;
    has_begun.recv().map_err(io::Error::other)?;
    Ok(thread)
}

impl Shared {
    /// Claims a part and does it, if there is one.
    fn do_part(&self) -> bool {
        struct Done<'a>(&'a Shared);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.has_panicked.fetch_or(thread::panicking(), Ordering::Relaxed);
                self.0.done.fetch_add(1, Ordering::Release);
            }
        }
        let mut tickets = self.tickets.load(Ordering::Relaxed);
        while let Some(part) = Tickets(tickets).next() {
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.tickets.compare_exchange_weak(tickets, tickets + 1, success, failure) {
                Err(now) => tickets = now,
                Ok(_) => {
                    let _done = Done(self);
                    // SAFETY: it was written before the tickets, and is not again until this part is done.
                    if let Some(work) = unsafe { *self.work.get() } {
                        work(part);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Does parts until all is over.
    fn serve(&self) {
        let mut idle = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            if self.do_part() {
                idle = 0;
            } else if idle < SPIN_LIMIT {
                idle += 1;
                hint::spin_loop();
            } else {
                self.sleep();
                idle = 0;
            }
        }
    }

    /// Returns when there may be something to do.
    fn sleep(&self) {
        let mut asleep = self.sleep_lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while Tickets(self.tickets.load(Ordering::SeqCst)).next().is_none()
            && !self.is_over.load(Ordering::SeqCst)
        {
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes those who sleep, after the tickets or the end are there.
    fn wake_all(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _asleep = self.sleep_lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }
}

/// Waits for all parts when it goes; where the caller panics, for those that have been claimed.
struct Finished<'a> {
    shared: &'a Shared,
    parts: usize,
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        let mut parts = self.parts;
        if thread::panicking() {
            let tickets = Tickets(self.shared.tickets.load(Ordering::Relaxed));
            let none = Tickets::new(tickets.call(), 0).0;
            let left = Tickets(self.shared.tickets.swap(none, Ordering::Relaxed));
            parts = left.next().unwrap_or(parts);
        }
        let mut spins = 0;
        while self.shared.done.load(Ordering::Acquire) < parts {
            spins += 1;
            if spins < SPIN_LIMIT { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for thread in self.threads.drain(..) {
            // A thread whose part has panicked has told the caller already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.threads()).finish()
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use alloc::string::ToString;
    use core::time::Duration;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const CALLS: usize = if cfg!(miri) { 20 } else { 2000 };

    #[test]
    fn every_part_is_done_once_before_run_returns() {
        for threads in [1, 2, 3, 5] {
            let pool = ThreadPool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for call in 0..CALLS {
                let parts = call % 7;
                let counts: [AtomicUsize; 7] = core::array::from_fn(|_| AtomicUsize::new(0));
                pool.run(parts, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                let counts = counts.map(AtomicUsize::into_inner);
                assert_eq!(counts, core::array::from_fn(|i| usize::from(i < parts)));
            }
        }
    }

    #[test]
    fn a_pool_that_cannot_be_is_an_error() {
        for threads in [257, 20_000, usize::MAX] {
            let error = ThreadPool::new(threads).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(
                error.to_string(),
                format!("a thread pool of {threads} threads, expected at most 256")
            );
        }
    }

    #[test]
    fn threads_end_where_the_system_gives_no_more() {
        let (running, mut given) = (Arc::new(()), 0);
        let refused = ThreadPool::start(9, &mut |serve| {
            given += 1;
            if given > 4 {
                return Err(io::Error::from(io::ErrorKind::WouldBlock));
            }
            let running = Arc::clone(&running);
            thread::Builder::new().spawn(move || {
                let _running = running;
                serve();
            })
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!((given, Arc::strong_count(&running)), (5, 1));
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        let pool = ThreadPool::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        for _ in 0..3 {
            while pool.shared.sleepers.load(Ordering::SeqCst) < 2 {
                thread::sleep(Duration::from_millis(1));
            }
            pool.run(3, &|i| {
                sum.fetch_add(i + 1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            });
        }
        assert_eq!(sum.into_inner(), 18);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = ThreadPool::new(3).unwrap();
        for bad in 0..3 {
            let work = |i: usize| assert_ne!(i, bad, "part {bad}");
            assert!(catch_unwind(AssertUnwindSafe(|| pool.run(3, &work))).is_err());
            let done = AtomicUsize::new(0);
            pool.run(4, &|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 4);
        }
    }
}
