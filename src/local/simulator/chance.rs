//! Chance that repeats: one seed, one world.

use uuid::Uuid;

/// A small generator (`SplitMix64`) for data that has to vary and yet be the same in each run. Not
/// for secrets.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for `name`, so that drawing more of one thing does not change another.
    pub(super) fn branch(&self, name: &str) -> Self {
        let mixed = name.bytes().fold(self.0, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Self(mixed).next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.next() % span)
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.next()).unwrap_or(usize::MAX) % choices.len();
        &choices[index]
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.next(), self.next());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_world() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (chance.uuid(), chance.between(-5, 5), chance.next())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_branch_does_not_depend_on_what_else_was_drawn() {
        let chance = Chance::new(1);
        let mut one = chance.branch("accounts");
        let mut other = chance.branch("rows");
        other.next();
        assert_eq!(one.next(), chance.branch("accounts").next());
        assert_ne!(
            chance.branch("accounts").next(),
            chance.branch("rows").next()
        );
    }

    #[test]
    fn a_number_stays_within_its_bounds() {
        let mut chance = Chance::new(3);
        let drawn: Vec<i64> = (0..1000).map(|_| chance.between(-2, 2)).collect();
        assert_eq!(drawn.iter().min(), Some(&-2));
        assert_eq!(drawn.iter().max(), Some(&2));
    }
}
