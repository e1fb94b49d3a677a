//! Pages of lists, read by keyset: from a key onward, in either direction.

use super::StorageError;

/// Where in the order of a list a page begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PageStart<K> {
    /// With the first row.
    First,
    /// With the row behind this key.
    After(K),
    /// With the row that makes this key the next one behind the page.
    Before(K),
}

/// A page, in order, with what lies on both sides of it.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether there are rows behind the last one.
    pub more_after: bool,
    /// Whether there are rows before the first one.
    pub more_before: bool,
}

/// How many rows to ask for: one more than wanted tells whether there are more.
pub(super) fn rows_to_ask(limit: u16) -> i64 {
    i64::from(limit) + 1
}

impl<T> Page<T> {
    /// Makes a page of the rows that were asked for from `start`, in the order they were read:
    /// backwards from a [`PageStart::Before`].
    pub(super) fn of<R, K>(
        rows: Vec<R>,
        limit: u16,
        start: &PageStart<K>,
    ) -> Result<Self, StorageError>
    where
        T: TryFrom<R, Error = StorageError>,
    {
        let page = Page::arranged(rows, limit, start);
        let items = page.items.into_iter().map(T::try_from);
        Ok(Self {
            items: items.collect::<Result<_, _>>()?,
            more_after: page.more_after,
            more_before: page.more_before,
        })
    }

    /// The same of rows that are what the page holds.
    pub(super) fn arranged<K>(mut rows: Vec<T>, limit: u16, start: &PageStart<K>) -> Self {
        let more = rows.len() > usize::from(limit);
        rows.truncate(limit.into());
        let (more_after, more_before) = match start {
            PageStart::First => (more, false),
            PageStart::After(_) => (more, true),
            PageStart::Before(_) => {
                rows.reverse();
                (true, more)
            }
        };
        Self {
            items: rows,
            more_after,
            more_before,
        }
    }
}
