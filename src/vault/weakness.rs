//! Keys that nobody drew at random.
//!
//! Each rule catches a way in which people make keys by hand, and is out of a random key's reach:
//! the chances, per key, stand beside the variants. Together a random key is refused about once in
//! sixty million million.

use std::fmt;

use zeroize::Zeroizing;

use super::secret_key::KEY_LENGTH;

/// Fewest different byte values of an acceptable key; a random one has 30 of them on average.
const FEWEST_VALUES: usize = 16;

/// Equal bytes in a row that give a filled-up key away.
const PADDING: usize = 8;

/// Why a key looks made up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weakness {
    /// Each byte is the one before plus the same step: all equal, counting up or down. 2^-240.
    Run,
    /// A block of at most half its length, over and over. 2^-128.
    Repetition,
    /// Eight or more equal bytes in a row, as when something short was filled up. 2^-51.
    Padding,
    /// Nothing but printable ASCII: a passphrase, or the hexadecimal text of a key. 2^-45.7.
    Text,
    /// Fewer than 16 different byte values. 2^-54.
    FewValues,
}

impl Weakness {
    /// The first weakness of a key, the most telling one first.
    pub(super) fn of(key: &[u8; KEY_LENGTH]) -> Option<Self> {
        [
            (Self::Run, is_run(key)),
            (Self::Repetition, is_repetition(key)),
            (Self::Padding, is_padded(key)),
            (Self::Text, is_text(key)),
            (Self::FewValues, has_few_values(key)),
        ]
        .into_iter()
        .find_map(|(weakness, found)| found.then_some(weakness))
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "its bytes are all equal or count up or down",
            Self::Repetition => "it repeats a shorter block",
            Self::Padding => "it is filled up with one byte value",
            Self::Text => "it is readable text",
            Self::FewValues => "it uses fewer than 16 different byte values",
        })
    }
}

fn is_run(key: &[u8; KEY_LENGTH]) -> bool {
    let step = key[1].wrapping_sub(key[0]);
    key.windows(2)
        .all(|pair| pair[1].wrapping_sub(pair[0]) == step)
}

fn is_repetition(key: &[u8]) -> bool {
    (1..=key.len() / 2).any(|period| key[period..] == key[..key.len() - period])
}

fn is_padded(key: &[u8]) -> bool {
    key.windows(PADDING)
        .any(|row| row.iter().all(|byte| *byte == row[0]))
}

fn is_text(key: &[u8]) -> bool {
    key.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn has_few_values(key: &[u8]) -> bool {
    let mut values = Zeroizing::new(key.to_vec());
    values.sort_unstable();
    values.dedup();
    values.len() < FEWEST_VALUES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::{OsRandom, draw};

    /// The key with `byte` of its place at each place.
    fn key_of(byte: impl Fn(u8) -> u8) -> [u8; 32] {
        let mut places = 0..;
        std::array::from_fn(|_| byte(places.next().unwrap()))
    }

    /// A key of 32 different bytes without any weakness, to spoil in one way at a time.
    fn sound() -> [u8; 32] {
        key_of(|place| (place * 5) ^ 0xa5)
    }

    #[test]
    fn a_sound_key_has_none() {
        assert_eq!(Weakness::of(&sound()), None);
    }

    #[test]
    fn random_keys_have_none() {
        for _ in 0..20_000 {
            assert_eq!(Weakness::of(&draw(&OsRandom)), None);
        }
    }

    #[test]
    fn equal_bytes_are_a_run() {
        for byte in 0..=u8::MAX {
            assert_eq!(Weakness::of(&[byte; 32]), Some(Weakness::Run));
        }
    }

    #[test]
    fn counting_is_a_run_whatever_the_step_and_start() {
        for step in 0..=u8::MAX {
            let key = key_of(|place| place.wrapping_mul(step).wrapping_add(200));
            assert_eq!(Weakness::of(&key), Some(Weakness::Run), "step {step}");
        }
    }

    #[test]
    fn one_byte_off_is_no_run() {
        let mut key = key_of(|place| place);
        key[31] ^= 0x80;
        assert_eq!(Weakness::of(&key), None);
    }

    #[test]
    fn a_repeated_block_of_any_length_up_to_half_is_a_repetition() {
        for period in 2..=16 {
            let key = std::array::from_fn(|place| sound()[place % period]);
            assert_eq!(
                Weakness::of(&key),
                Some(Weakness::Repetition),
                "period {period}"
            );
        }
        let key = std::array::from_fn(|place| sound()[place % 17]);
        assert_eq!(Weakness::of(&key), None);
    }

    #[test]
    fn eight_equal_bytes_anywhere_are_padding_and_seven_are_not() {
        for start in 0..=24 {
            let mut key = sound();
            key[start..start + 8].fill(0xee);
            assert_eq!(Weakness::of(&key), Some(Weakness::Padding), "at {start}");
        }
        let mut key = sound();
        key[25..].fill(0xee);
        assert_eq!(Weakness::of(&key), None);
    }

    #[test]
    fn readable_text_is_weak_and_one_unreadable_byte_redeems_it() {
        let mut key = *b"correct horse battery staple, 42";
        assert_eq!(Weakness::of(&key), Some(Weakness::Text));
        key[31] = 0x7f;
        assert_eq!(Weakness::of(&key), None);
        key[31] = 0x1f;
        assert_eq!(Weakness::of(&key), None);
        assert_eq!(
            Weakness::of(b"9f86d081884c7d659a2feaa0c55ad015"),
            Some(Weakness::Text)
        );
    }

    #[test]
    fn fifteen_values_are_too_few_and_sixteen_are_enough() {
        let distinct = |key: [u8; 32]| std::collections::BTreeSet::from(key).len();
        let mut enough = sound();
        for place in 0..16 {
            // In another order, or the key would repeat its first half.
            enough[16 + place] = enough[(place * 7 + 3) % 16];
        }
        assert_eq!(distinct(enough), 16);
        assert_eq!(Weakness::of(&enough), None);

        let [kept, replaced, ..] = enough;
        let few = enough.map(|byte| if byte == replaced { kept } else { byte });
        assert_eq!(distinct(few), 15);
        assert_eq!(Weakness::of(&few), Some(Weakness::FewValues));
    }
}
