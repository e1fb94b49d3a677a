//! `transactions` and `transaction_versions`: how pulls write them, and how they are read.

mod absence;
mod changes;
mod details;
mod merge;
mod read;
mod write;

pub use self::{
    absence::{Absence, Absent, Gone},
    changes::{ChangeOp, Changes, FeedPosition},
    merge::AccountMerge,
    read::TransactionFilter,
    write::{Applied, Known, PageWrite},
};
