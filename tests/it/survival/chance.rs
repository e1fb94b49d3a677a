//! Chance that can be had again.

use matcher_discovery::domain::random::{OsRandom, Random as _};

/// The variable that names the seed of an earlier run.
const SEED: &str = "SURVIVAL_SEED";

/// A sequence of numbers that its seed decides (`SplitMix64`).
pub(super) struct Chance(u64);

impl Chance {
    /// Begins a sequence, and says which: a test that fails shows it. What the machine makes of it
    /// differs from run to run all the same.
    #[expect(
        clippy::print_stdout,
        reason = "the test harness keeps it for the tests that fail"
    )]
    pub(super) fn begin() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "how somebody who looks into a failure asks for the same run"
        )]
        let asked = std::env::var(SEED).ok();
        let seed = asked.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let mut bytes = [0; 8];
            OsRandom.fill(&mut bytes);
            u64::from_ne_bytes(bytes)
        });
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end as u64).expect("below a usize")
    }

    /// One of them.
    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
