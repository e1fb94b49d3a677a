//! The keys above all others: read once at the start, never stored.

use std::fmt;

use base64::{
    Engine,
    engine::{DecodePaddingMode, general_purpose},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    secret_key::{KEY_LENGTH, SecretKey},
    weakness::Weakness,
};
use crate::domain::random::Random;

/// Characters of the longest id.
const LONGEST_ID: usize = 32;

/// The standard alphabet; the `=` at the end may be missing, as some tools leave it out.
const BASE64: general_purpose::GeneralPurpose = general_purpose::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    general_purpose::PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Named keys: the first one seals, every one opens.
///
/// To rotate without a gap, list the new key *behind* the present first one on every node, then
/// move it to the front, then rewrap the data keys; drop the old key once no data key is wrapped by
/// it and the cursors signed by it no longer matter.
pub struct KeyRing {
    /// Never empty; ids and keys are distinct.
    keys: Vec<RingKey>,
}

/// One key of the ring.
pub(super) struct RingKey {
    pub(super) id: String,
    pub(super) key: SecretKey,
}

impl KeyRing {
    /// Reads a list of `id:base64 of 32 bytes`, separated by commas or white space; a `#` starts a
    /// comment that ends with its line.
    ///
    /// Every fault of the text is reported at once, by the position and the id of its entry.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut faults = Vec::new();
        for (text, position) in split(text).zip(1..) {
            let (entry, mut flaws) = Entry::read(text, position);
            flaws.extend(entry.repeats(&entries));
            faults.extend(flaws.into_iter().map(|flaw| KeyFault::Entry {
                entry: entry.name(),
                flaw,
            }));
            entries.push(entry);
        }
        if entries.is_empty() {
            faults.push(KeyFault::Empty);
        }
        if !faults.is_empty() {
            return Err(KeyRingError { faults });
        }
        let keys = entries.into_iter().filter_map(Entry::into_key).collect();
        Ok(Self { keys })
    }

    /// Makes a fresh entry for [`KeyRing::parse`]; refused when `id` is not an acceptable id.
    pub fn generate_entry(
        id: &str,
        random: &dyn Random,
    ) -> Result<Zeroizing<String>, UnusableKeyId> {
        if !is_key_id(id) {
            return Err(UnusableKeyId);
        }
        // Long enough from the start: growing would leave a copy of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST_ID + 1 + 2 * KEY_LENGTH));
        text.push_str(id);
        text.push(':');
        BASE64.encode_string(SecretKey::draw(random).bytes(), &mut text);
        Ok(text)
    }

    /// The ids, in the ring's order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn primary(&self) -> &str {
        &self.primary_key().id
    }

    pub(super) fn primary_key(&self) -> &RingKey {
        &self.keys[0]
    }

    pub(super) fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    pub(super) fn find(&self, id: &str) -> Option<&SecretKey> {
        let found = self.keys.iter().find(|key| key.id == id)?;
        Some(&found.key)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing ")?;
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Whether a text can name a key: 1 to 32 letters, digits, `_`, `.` and `-`.
pub(super) fn is_key_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// An id that [`KeyRing::parse`] would refuse.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a key's id has 1 to 32 of the characters A-Z a-z 0-9 _ . -")]
pub struct UnusableKeyId;

/// Why a key ring was refused: every fault of it, in the order of its entries.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the key ring is refused: {}", listed(faults))]
pub struct KeyRingError {
    faults: Vec<KeyFault>,
}

impl KeyRingError {
    /// The faults, for a report that has others to tell beside them.
    #[must_use]
    pub fn faults(&self) -> &[KeyFault] {
        &self.faults
    }
}

fn listed(faults: &[KeyFault]) -> String {
    let faults: Vec<String> = faults.iter().map(KeyFault::to_string).collect();
    faults.join("; ")
}

/// One fault of a key ring. None of them shows any of a key's text.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum KeyFault {
    /// There is no entry at all.
    #[error(
        "it lists no key: give at least one `id:base64 of 32 bytes`, as `keys generate` prints it"
    )]
    Empty,
    /// One of the entries is not acceptable.
    #[error("{entry} {flaw}")]
    Entry {
        /// Which one.
        entry: EntryName,
        /// What is wrong with it.
        flaw: EntryFlaw,
    },
}

/// What is wrong with an entry.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EntryFlaw {
    /// It is not of the form `id:key`.
    #[error("has no `:`: an entry is `id:base64 of 32 bytes`, without spaces")]
    NoSeparator,
    /// Its id is empty, too long, or has other characters.
    #[error("has an unusable id: take 1 to 32 of the characters A-Z a-z 0-9 _ . -")]
    BadId,
    /// Its key is not base64.
    #[error("has a key that is not standard base64: make one with `keys generate`")]
    NotBase64,
    /// Its key is too short or too long.
    #[error("has a key of {0} bytes instead of 32: make one with `keys generate`")]
    WrongLength(usize),
    /// Its key was not drawn at random.
    #[error("has a weak key, {0}: make a random one with `keys generate`")]
    Weak(Weakness),
    /// Its id names an earlier key already.
    #[error("has the same id as {0}: give each key an id of its own")]
    SameId(EntryName),
    /// Its key is listed already.
    #[error("has the same key as {0}: list each key once")]
    SameKey(EntryName),
}

/// How a fault names an entry: by its position, and by its id where that surely is one.
///
/// Behind an id without a proper key, the two may have been swapped, and the id may be the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryName {
    position: usize,
    id: Option<String>,
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.position)?;
        match &self.id {
            Some(id) => write!(f, " (`{id}`)"),
            None => Ok(()),
        }
    }
}

/// An entry as far as it could be read.
struct Entry<'a> {
    position: usize,
    id: Option<&'a str>,
    key: Option<SecretKey>,
}

impl<'a> Entry<'a> {
    fn read(text: &'a str, position: usize) -> (Self, Vec<EntryFlaw>) {
        let mut flaws = Vec::new();
        let mut entry = Self {
            position,
            id: None,
            key: None,
        };
        let Some((id, key)) = text.split_once(':') else {
            return (entry, vec![EntryFlaw::NoSeparator]);
        };
        if is_key_id(id) {
            entry.id = Some(id);
        } else {
            flaws.push(EntryFlaw::BadId);
        }
        match read_key(key) {
            Ok(key) => {
                flaws.extend(Weakness::of(key.bytes()).map(EntryFlaw::Weak));
                entry.key = Some(key);
            }
            Err(flaw) => flaws.push(flaw),
        }
        (entry, flaws)
    }

    /// Whether an earlier entry has the same id, or the same key.
    fn repeats(&self, earlier: &[Self]) -> impl Iterator<Item = EntryFlaw> {
        let same_id = earlier
            .iter()
            .find(|first| self.id.is_some() && first.id == self.id);
        let same_key = earlier
            .iter()
            .find(|first| self.bytes().is_some() && first.bytes() == self.bytes());
        let same_id = same_id.map(|first| EntryFlaw::SameId(first.name()));
        let same_key = same_key.map(|first| EntryFlaw::SameKey(first.name()));
        same_id.into_iter().chain(same_key)
    }

    fn bytes(&self) -> Option<&[u8; KEY_LENGTH]> {
        self.key.as_ref().map(SecretKey::bytes)
    }

    fn name(&self) -> EntryName {
        EntryName {
            position: self.position,
            id: self
                .id
                .filter(|_| self.key.is_some())
                .map(ToOwned::to_owned),
        }
    }

    fn into_key(self) -> Option<RingKey> {
        Some(RingKey {
            id: self.id?.to_owned(),
            key: self.key?,
        })
    }
}

fn read_key(text: &str) -> Result<SecretKey, EntryFlaw> {
    // The decoder makes room once, before it writes, so no copy stays behind.
    let mut bytes = Zeroizing::new(Vec::new());
    BASE64
        .decode_vec(text, &mut bytes)
        .map_err(|_| EntryFlaw::NotBase64)?;
    SecretKey::copy_of(&bytes).ok_or(EntryFlaw::WrongLength(bytes.len()))
}

/// The entries of a text, without comments.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split(|c: char| c == ',' || c.is_whitespace()))
        .filter(|entry| !entry.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
