//! Randomness, passed in rather than drawn.

use std::fmt;

/// A source of unpredictable bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills `bytes` with unpredictable values.
    fn fill(&self, bytes: &mut [u8]);
}

/// Draws `N` unpredictable bytes.
pub fn draw<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one home of the system generator"
    )]
    #[expect(
        clippy::expect_used,
        reason = "without randomness no nonce, token or id is safe: stopping is the only right answer"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system provides randomness");
    }
}
