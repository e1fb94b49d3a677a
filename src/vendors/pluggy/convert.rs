//! From what Pluggy sends to what we mean. Pure: bytes in, values out.

mod account;
mod item;
mod key;
mod transaction;

#[cfg(test)]
mod tests;

pub use self::{
    account::{account, accounts},
    item::item,
    key::{ApiKey, key},
    transaction::transactions,
};

/// The most characters of a word: a kind, a code, a method.
const WORD: usize = 100;

/// The most characters of a name.
const NAME: usize = 300;
