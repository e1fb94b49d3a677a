//! The rows of one account: kept as the text they are told in, indexed as they are asked for.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use uuid::Uuid;

/// Up to this many rows are sorted for a page; of more, so many fit that a scan fills it at once.
const SORTED: usize = 20_000;

/// Where a row stands: the newest date first, then by id.
type Place = (Reverse<i64>, Uuid);

#[derive(Debug)]
struct Row {
    created: i64,
    text: Box<str>,
}

/// All rows of an account. Instants are milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_place: BTreeMap<Place, Row>,
    dates: HashMap<Uuid, i64>,
    by_created: BTreeSet<(i64, Uuid)>,
}

/// Which rows a listing is about.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) created_from: Option<i64>,
    pub(super) ids: Option<Vec<Uuid>>,
    /// Date and id of the last row of the page before.
    pub(super) after: Option<(i64, Uuid)>,
}

/// Some rows in their order, and where the next page goes on if there is one.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) texts: Vec<&'a str>,
    pub(super) next: Option<(i64, Uuid)>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Adds a row, or replaces the one of the same id.
    pub(super) fn put(&mut self, id: Uuid, date: i64, created: i64, text: String) {
        self.remove(id);
        self.dates.insert(id, date);
        self.by_created.insert((created, id));
        let row = Row {
            created,
            text: text.into_boxed_str(),
        };
        self.by_place.insert((Reverse(date), id), row);
    }

    pub(super) fn remove(&mut self, id: Uuid) -> bool {
        let Some(date) = self.dates.remove(&id) else {
            return false;
        };
        if let Some(row) = self.by_place.remove(&(Reverse(date), id)) {
            self.by_created.remove(&(row.created, id));
        }
        true
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&str> {
        let date = *self.dates.get(&id)?;
        self.by_place
            .get(&(Reverse(date), id))
            .map(|row| &*row.text)
    }

    /// Every row with its id, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (Uuid, &str)> {
        self.by_place.iter().map(|(&(_, id), row)| (id, &*row.text))
    }

    /// One page of the rows that pass the filter. Its cost depends on the page, not on the account.
    pub(super) fn page(&self, filter: &Filter, size: usize) -> Page<'_> {
        let start = match (filter.after, filter.to) {
            (Some((date, id)), _) => Bound::Excluded((Reverse(date), id)),
            (None, Some(to)) => Bound::Included((Reverse(to), Uuid::nil())),
            (None, None) => Bound::Unbounded,
        };
        let passes = |&(&(Reverse(date), id), row): &(&Place, &Row)| {
            let beyond = match start {
                Bound::Excluded(start) => (Reverse(date), id) > start,
                _ => true,
            };
            beyond
                && filter.from.is_none_or(|from| date >= from)
                && filter.to.is_none_or(|to| date <= to)
                && filter.created_from.is_none_or(|from| row.created >= from)
        };
        let listed = match (&filter.ids, filter.created_from) {
            (Some(ids), _) => Some(self.places(ids.iter().copied())),
            (None, Some(from)) => {
                let recent = self.by_created.range((from, Uuid::nil())..);
                let ids: Vec<_> = recent.take(SORTED + 1).map(|&(_, id)| id).collect();
                (ids.len() <= SORTED).then(|| self.places(ids.into_iter()))
            }
            (None, None) => None,
        };
        let found: Vec<(&Place, &Row)> = match &listed {
            Some(places) => places
                .iter()
                .filter_map(|place| self.by_place.get_key_value(place))
                .filter(passes)
                .take(size + 1)
                .collect(),
            None => self
                .by_place
                .range((start, Bound::Unbounded))
                .take_while(|&(&(Reverse(date), _), _)| filter.from.is_none_or(|from| date >= from))
                .filter(passes)
                .take(size + 1)
                .collect(),
        };
        let more = found.len() > size;
        let page = &found[..found.len().min(size)];
        Page {
            texts: page.iter().map(|(_, row)| &*row.text).collect(),
            next: page
                .last()
                .filter(|_| more)
                .map(|&(&(Reverse(date), id), _)| (date, id)),
        }
    }

    fn places(&self, ids: impl Iterator<Item = Uuid>) -> BTreeSet<Place> {
        ids.filter_map(|id| self.dates.get(&id).map(|&date| (Reverse(date), id)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u128) -> Rows {
        let mut rows = Rows::default();
        for n in 0..count {
            // Three rows a date; created in the opposite order of their dates.
            let (date, created) = (
                i64::try_from(n / 3).unwrap(),
                i64::try_from(count - n).unwrap(),
            );
            rows.put(Uuid::from_u128(n + 1), date, created, n.to_string());
        }
        rows
    }

    fn read_all(rows: &Rows, mut filter: Filter, size: usize) -> Vec<u32> {
        let mut read = Vec::new();
        loop {
            let page = rows.page(&filter, size);
            assert!(page.texts.len() <= size);
            read.extend(page.texts.iter().map(|text| text.parse::<u32>().unwrap()));
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return read,
            }
        }
    }

    #[test]
    fn every_row_is_on_one_page_the_newest_date_first() {
        let read = read_all(&rows(10), Filter::default(), 4);
        assert_eq!(read, [9, 6, 7, 8, 3, 4, 5, 0, 1, 2]);
    }

    #[test]
    fn a_full_last_page_promises_no_further_one() {
        assert!(rows(4).page(&Filter::default(), 4).next.is_none());
    }

    #[test]
    fn filters_by_date_and_by_creation_and_by_id_hold_on_every_page() {
        let rows = rows(10);
        let dated = Filter {
            from: Some(1),
            to: Some(2),
            ..Filter::default()
        };
        assert_eq!(read_all(&rows, dated, 2), [6, 7, 8, 3, 4, 5]);
        let created = Filter {
            created_from: Some(7),
            ..Filter::default()
        };
        assert_eq!(read_all(&rows, created, 3), [3, 0, 1, 2]);
        let ids = [2, 9, 77].map(Uuid::from_u128).to_vec();
        let listed = Filter {
            ids: Some(ids),
            ..Filter::default()
        };
        assert_eq!(read_all(&rows, listed, 1), [8, 1]);
    }

    #[test]
    fn many_recent_rows_are_found_by_scanning() {
        let many = u128::try_from(SORTED).unwrap() + 10;
        let filter = Filter {
            created_from: Some(1),
            ..Filter::default()
        };
        assert_eq!(read_all(&rows(many), filter, 5000).len(), SORTED + 10);
    }

    #[test]
    fn a_row_that_is_put_again_moves_and_one_removed_is_gone() {
        let mut rows = rows(3);
        rows.put(Uuid::from_u128(1), 99, 99, "9".to_owned());
        assert!(rows.remove(Uuid::from_u128(2)));
        assert!(!rows.remove(Uuid::from_u128(2)));
        assert_eq!(read_all(&rows, Filter::default(), 9), [9, 2]);
        assert_eq!(rows.get(Uuid::from_u128(1)), Some("9"));
        assert_eq!((rows.len(), rows.by_created.len()), (2, 2));
    }
}
