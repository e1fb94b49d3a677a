//! A consumer of the change feed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Client;

/// What a consumer keeps: the rows by their identifiers, and where it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    cursor: Option<String>,
    pub(super) held: BTreeMap<String, Value>,
    /// The last version it heard of, of what it no longer holds as well.
    versions: BTreeMap<String, i64>,
}

impl Replica {
    /// Reads one answer; tells whether there is more.
    pub(super) async fn read(&mut self, client: &Client, limit: u8) -> bool {
        let cursor = self.cursor.as_ref();
        let cursor = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let path = format!("/v1/discovery/transactions/changes?limit={limit}{cursor}");
        let answer = client.get(&path).await.expect(200);
        let items = answer["items"].as_array().unwrap();
        assert!(items.len() <= usize::from(limit), "{answer:#}");
        for item in items {
            self.take(item);
        }
        self.cursor = Some(answer["nextCursor"].as_str().unwrap().to_owned());
        answer["hasMore"].as_bool().unwrap()
    }

    /// Reads to the present end.
    pub(super) async fn read_on(&mut self, client: &Client) {
        while self.read(client, 200).await {}
    }

    fn take(&mut self, item: &Value) {
        let row = &item["transaction"];
        let id = row["id"].as_str().unwrap();
        let version = row["version"].as_i64().unwrap();
        if let Some(before) = self.versions.insert(id.to_owned(), version) {
            assert!(before < version, "told again: {item:#}");
        }
        match item["op"].as_str().unwrap() {
            "added" => {
                self.held.insert(id.to_owned(), row.clone());
            }
            "modified" => {
                let before = self.held.insert(id.to_owned(), row.clone());
                assert!(before.is_some(), "changed before it was added: {item:#}");
            }
            "removed" => {
                assert!(row["deletedAt"].is_string(), "{item:#}");
                self.held.remove(id);
            }
            other => panic!("{other}: {item:#}"),
        }
    }
}
