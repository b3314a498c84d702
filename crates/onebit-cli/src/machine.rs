//! What is known of the machine.

use std::fs;

/// Name of the CPU; the architecture where the system does not tell.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&info, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
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
