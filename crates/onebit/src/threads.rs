//! Threads that are started only where there is memory for them.

use std::hint::black_box;
use std::io;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::Error;

/// What starting a thread takes: the stack, and room for what the system and the allocator put beside it. So much the
/// allocator of the C library has in no reserve of its own, but asks the system for.
const THREAD_BYTES: usize = 65 << 20;

/// Hardware threads that this process may use.
#[must_use]
pub fn hardware_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A pool of so many threads.
///
/// # Errors
/// The system does not start them, or has no memory for them: a thread that has begun without ends the program.
pub fn thread_pool(threads: usize) -> Result<ThreadPool, Error> {
    let mut refused = false;
    let start = |thread| start_thread(thread, &mut refused);
    let pool = ThreadPoolBuilder::new().num_threads(threads).spawn_handler(start).build();
    pool.map_err(|error| not_started(threads, refused, &error))
}

/// Starts the threads on which images are decoded, as many as the machine has, once for the whole program. Who does not
/// call it gets them when they are first needed, and an abort if there is no memory for them then.
///
/// # Errors
/// As [`thread_pool`].
pub fn start_shared_pool() -> Result<(), Error> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let mut refused = false;
        let start = |thread| start_thread(thread, &mut refused);
        let built = ThreadPoolBuilder::new().spawn_handler(start).build_global();
        built.map_err(|error| not_started(hardware_threads(), refused, &error))?;
        *started = true;
    }
    Ok(())
}

/// Refuses to start a thread for which there is no memory.
///
/// # Errors
/// Less memory than a thread takes.
pub fn check_thread() -> Result<(), Error> {
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(THREAD_BYTES);
    // Otherwise the compiler may leave the reservation out.
    black_box(&mut room);
    reserved.map_err(|_| Error::Threads {
        threads: 1,
        reason: "there is not enough memory for another thread".to_owned(),
    })
}

/// Starts a thread of a pool, and waits until it has begun, so that the next one finds the memory that this one has left.
fn start_thread(thread: ThreadBuilder, refused: &mut bool) -> io::Result<()> {
    if check_thread().is_err() {
        *refused = true;
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let (begun, has_begun) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || {
        // The allocator gives a thread its memory when it asks for some.
        drop(black_box(Box::new(0u8)));
        if begun.send(()).is_ok() {
            thread.run();
        }
    })?;
    has_begun.recv().map_err(io::Error::other)
}

fn not_started(threads: usize, refused: bool, error: &ThreadPoolBuildError) -> Error {
    let reason = match refused {
        true => "there is not enough memory for another thread".to_owned(),
        false => error.to_string(),
    };
    Error::Threads { threads, reason }
}
