//! Threads that are started only where there is memory for them.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::Error;

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
    onebit_engine::check_thread().map_err(|_| Error::Threads {
        threads: 1,
        reason: "there is not enough memory for another thread".to_owned(),
    })
}

/// Starts a thread of a pool; `refused` is set where there is no memory for it.
fn start_thread(thread: ThreadBuilder, refused: &mut bool) -> io::Result<()> {
    match onebit_engine::start_thread(Box::new(|| thread.run())) {
        Ok(_) => Ok(()),
        Err(error) => {
            *refused |= error.kind() == ErrorKind::OutOfMemory;
            Err(error)
        }
    }
}

fn not_started(threads: usize, refused: bool, error: &ThreadPoolBuildError) -> Error {
    let reason = match refused {
        true => "there is not enough memory for another thread".to_owned(),
        false => error.to_string(),
    };
    Error::Threads { threads, reason }
}
