//! Random numbers for tests, with seeds that are printed.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(
    /// The state; any number is a seed.
    pub u64,
);

impl Random {
    /// 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.next() >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// Uniform in `-1..1`.
    pub fn float(&mut self) -> f32 {
        self.uniform(-1.0, 1.0)
    }

    /// `len` numbers, uniform in `low..high`.
    pub fn floats(&mut self, len: usize, low: f32, high: f32) -> Vec<f32> {
        (0..len).map(|_| self.uniform(low, high)).collect()
    }

    /// One of `from`.
    pub fn choose<T: Clone>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize].clone()
    }
}

/// A new seed in every run, printed so that a failure can be repeated with `ONEBIT_TEST_SEED`.
#[allow(clippy::print_stdout, reason = "the test harness shows it where a test fails")]
#[must_use]
pub fn random_seed() -> u64 {
    let seed = match std::env::var("ONEBIT_TEST_SEED") {
        Ok(text) => text.parse().expect("ONEBIT_TEST_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is past 1970").as_nanos() as u64
        }
    };
    println!("ONEBIT_TEST_SEED={seed}");
    seed
}
