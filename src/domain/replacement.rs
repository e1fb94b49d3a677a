//! Rows that a bank deleted and told again under another name.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{
    account::Currency,
    ids::{PullId, TransactionId},
    money::Amount,
};

/// How long before the old row is missed the new one may have come: listings of what is new are read
/// more often than those that show what is gone.
pub const AHEAD: TimeDelta = TimeDelta::days(1);

/// What makes a row of an account the same movement as another one, when no name is left to tell.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint {
    civil_date: NaiveDate,
    amount: Amount,
    currency: Currency,
    description: String,
}

impl Fingerprint {
    /// The fingerprint of a row, within its account.
    #[must_use]
    pub fn new(
        civil_date: NaiveDate,
        amount: Amount,
        currency: Currency,
        description: &str,
    ) -> Self {
        Self {
            civil_date,
            amount,
            currency,
            description: normalised(description),
        }
    }
}

/// Letters and digits in lower case, everything between them one space: banks pad, cut and shout the
/// same words differently from one telling to the next.
fn normalised(description: &str) -> String {
    let words = description.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join(" ")
}

/// A row that went or came.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which one.
    pub id: TransactionId,
    /// The bank's own identifier.
    pub bank_id: Option<String>,
    /// What it says.
    pub fingerprint: Fingerprint,
    /// When it was first missed, or when it came.
    pub at: DateTime<Utc>,
    /// The pull that first told of it.
    pub first_pull: PullId,
    /// Until when what replaces it has come, where that is known.
    pub until: Option<DateTime<Utc>>,
}

impl Candidate {
    /// Whether this row can be what `old` became: it came later, not too late, and not beside it.
    fn can_replace(&self, old: &Self) -> bool {
        self.first_pull != old.first_pull
            && self.id > old.id
            && self.at >= old.at - AHEAD
            && old.until.is_none_or(|until| self.at <= until)
    }
}

/// Which of the rows that came replaces which of those that went, within one account: by the bank's
/// own identifier first, then by fingerprint. What is not one to one stays two rows.
#[must_use]
pub fn pair(gone: &[Candidate], come: &[Candidate]) -> Vec<(TransactionId, TransactionId)> {
    let mut pairs = one_to_one(gone, come, |one| one.bank_id.as_deref());
    let (old, new): (HashSet<_>, HashSet<_>) =
        pairs.iter().map(|(old, new)| (old.id, new.id)).unzip();
    let gone = gone.iter().filter(|one| !old.contains(&one.id));
    let come = come.iter().filter(|one| !new.contains(&one.id));
    pairs.extend(
        one_to_one(gone, come, |one| Some(&one.fingerprint))
            .into_iter()
            // Two names of the bank's own are two movements, whatever the words.
            .filter(|(old, new)| old.bank_id.is_none() || new.bank_id.is_none()),
    );
    pairs
        .into_iter()
        .filter(|(old, new)| new.can_replace(old))
        .map(|(old, new)| (old.id, new.id))
        .collect()
}

/// The pairs of those keys that exactly one row on each side has.
fn one_to_one<'a, K: Ord>(
    gone: impl IntoIterator<Item = &'a Candidate>,
    come: impl IntoIterator<Item = &'a Candidate>,
    key: impl Fn(&'a Candidate) -> Option<K>,
) -> Vec<(&'a Candidate, &'a Candidate)> {
    let mut sides: BTreeMap<K, [Vec<&Candidate>; 2]> = BTreeMap::new();
    let gone = gone.into_iter().map(|one| (0, one));
    let come = come.into_iter().map(|one| (1, one));
    for (side, one) in gone.chain(come) {
        if let Some(key) = key(one) {
            sides.entry(key).or_default()[side].push(one);
        }
    }
    sides
        .into_values()
        .filter_map(|[gone, come]| match (gone.as_slice(), come.as_slice()) {
            ([old], [new]) => Some((*old, *new)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> TransactionId {
        TransactionId(Uuid::from_u128(number))
    }

    fn candidate(number: u128, bank_id: &str, description: &str) -> Candidate {
        Candidate {
            id: id(number),
            bank_id: (!bank_id.is_empty()).then(|| bank_id.to_owned()),
            fingerprint: Fingerprint::new(
                "2026-03-01".parse().unwrap(),
                "-12.50".parse().unwrap(),
                Currency::BRL,
                description,
            ),
            at: "2026-03-02T12:00:00Z".parse().unwrap(),
            first_pull: PullId(Uuid::from_u128(number)),
            until: None,
        }
    }

    #[test]
    fn the_banks_identifier_speaks_before_the_words() {
        let gone = [candidate(1, "b1", "Padaria"), candidate(2, "b2", "Loja")];
        let come = [candidate(3, "b2", "Padaria"), candidate(4, "b1", "Loja")];
        assert_eq!(pair(&gone, &come), [(id(1), id(4)), (id(2), id(3))]);
    }

    #[test]
    fn words_are_the_same_however_they_are_padded() {
        let gone = [candidate(1, "", "PADARIA   *Loja-7 ")];
        let come = [candidate(2, "b9", "Padaria loja 7")];
        assert_eq!(pair(&gone, &come), [(id(1), id(2))]);
        assert_eq!(pair(&gone, &[candidate(2, "", "Padaria Loja 8")]), []);
    }

    #[test]
    fn what_could_be_two_stays_two() {
        let twice = [candidate(1, "", "Loja"), candidate(2, "", "Loja")];
        let once = [candidate(3, "", "Loja")];
        assert_eq!(pair(&twice, &once), []);
        assert_eq!(pair(&once, &twice), []);
        let same_name = [candidate(1, "b", "Loja"), candidate(2, "b", "Padaria")];
        assert_eq!(pair(&same_name, &[candidate(3, "b", "Titular")]), []);
    }

    #[test]
    fn the_same_words_under_two_identifiers_are_two_movements() {
        let gone = [candidate(1, "b1", "Loja")];
        assert_eq!(pair(&gone, &[candidate(2, "b2", "Loja")]), []);
    }

    #[test]
    fn a_row_that_was_told_beside_the_other_does_not_replace_it() {
        let gone = [candidate(1, "", "Loja")];
        let come = candidate(2, "", "Loja");
        assert_eq!(pair(&gone, std::slice::from_ref(&come)), [(id(1), id(2))]);
        let beside = Candidate {
            first_pull: gone[0].first_pull,
            ..come.clone()
        };
        assert_eq!(pair(&gone, &[beside]), []);
        let long_before = Candidate {
            at: gone[0].at - AHEAD - TimeDelta::seconds(1),
            ..come.clone()
        };
        assert_eq!(pair(&gone, &[long_before]), []);
        // The older of two is not what the younger became.
        assert_eq!(pair(&[come], &gone), []);
    }

    #[test]
    fn what_comes_when_its_time_is_over_replaces_nothing() {
        let come = candidate(2, "", "Loja");
        let gone = |until| Candidate {
            until: Some(until),
            ..candidate(1, "", "Loja")
        };
        let found = |gone: Candidate| pair(&[gone], std::slice::from_ref(&come));
        assert_eq!(found(gone(come.at)), [(id(1), id(2))]);
        assert_eq!(found(gone(come.at - TimeDelta::microseconds(1))), []);
    }
}
