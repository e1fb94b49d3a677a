//! Made-up answers in the shapes of the real ones.

mod items;
mod keys_and_accounts;
mod pages;
mod rows;
