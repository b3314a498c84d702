//! What is known of the machine.

use std::fs;
use std::hint::black_box;
use std::io;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::failure::Failure;
use crate::memory;

/// Name of the CPU; the architecture where the system does not tell.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&info, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Hardware threads that this process may use.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A pool of so many threads.
///
/// # Errors
/// The system does not start them, or has no memory for them.
pub(crate) fn pool(threads: usize) -> anyhow::Result<ThreadPool> {
    let mut refused = None;
    let start = |thread| start_thread(thread, &mut refused);
    let pool = ThreadPoolBuilder::new().num_threads(threads).spawn_handler(start).build();
    pool.map_err(|error| not_started(threads, refused, &error))
}

/// Starts the threads that images are decoded on, once for the whole program; as many as the machine has.
///
/// # Errors
/// As [`pool`].
pub(crate) fn start_shared_pool() -> anyhow::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let mut refused = None;
        let start = |thread| start_thread(thread, &mut refused);
        let built = ThreadPoolBuilder::new().spawn_handler(start).build_global();
        built.map_err(|error| not_started(threads(), refused, &error))?;
        *started = true;
    }
    Ok(())
}

/// Starts a thread of a pool, and waits until it has begun, so that the next one finds the memory that this one has left.
fn start_thread(thread: ThreadBuilder, refused: &mut Option<anyhow::Error>) -> io::Result<()> {
    if let Err(error) = memory::check_thread() {
        *refused = Some(error);
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

fn not_started(
    threads: usize,
    refused: Option<anyhow::Error>,
    error: &rayon::ThreadPoolBuildError,
) -> anyhow::Error {
    let what = format!("{threads} threads cannot be started");
    match refused {
        Some(refused) => refused.context(what),
        None => Failure::bad_data(format!("{what}: {error}")),
    }
}

/// Installed and available memory in bytes, where the system tells.
pub(crate) fn memory() -> Option<(u64, u64)> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name| {
        let kib: u64 = field(&info, name)?.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    Some((bytes("MemTotal")?, bytes("MemAvailable")?))
}

/// CPU features that matter for the kernels, and whether this CPU has them.
pub(crate) fn features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    return vec![
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vpopcntdq", is_x86_feature_detected!("avx512vpopcntdq")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    return vec![("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return Vec::new();
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
