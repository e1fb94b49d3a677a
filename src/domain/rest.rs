//! What it takes to reach a REST endpoint, and how its answers are read.

mod auth;
mod base_url;
mod resource;
mod stored;

use std::fmt;

use url::Url;

pub use self::{
    auth::AuthFault,
    base_url::{BaseUrlFault, base_url, check_host},
    resource::{
        MAX_RESOURCES, PAGE_SIZES, ResourceFault, check_resources, cursor_path, parameter, path,
        record_path, resource_name,
    },
    stored::InvalidStored,
};
use super::secret::SecretText;

/// Where a REST endpoint is, and what it offers.
#[derive(Clone, Eq, PartialEq)]
pub struct RestPlace {
    /// What every path is relative to: without user info, query and fragment.
    pub base_url: Url,
    /// What is offered; each is a table.
    pub resources: Vec<Resource>,
}

impl fmt::Debug for RestPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestPlace")
            .field("resources", &self.resources.len())
            .finish_non_exhaustive()
    }
}

/// A list of records that a REST endpoint answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    /// The name it is extracted by.
    pub name: String,
    /// Its path, relative to the base URL; may have a query.
    pub path: String,
    /// Where in an answer its records are: a JSON pointer, empty for the whole answer.
    pub record_path: String,
    /// How it is read to its end.
    pub paging: Paging,
}

/// How a list is read from page to page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Paging {
    /// One answer holds everything.
    None,
    /// Pages are numbered; one without records is past the end.
    Page {
        /// The parameter of the query that takes the number.
        parameter: String,
        /// The number of the first page.
        first: u32,
        /// The parameter that takes how many records a page may have, and how many to ask for.
        size: Option<(String, u32)>,
    },
    /// An answer says where it goes on; one that does not is the last.
    Cursor {
        /// The parameter of the query that takes the cursor.
        parameter: String,
        /// Where in an answer the cursor is: a JSON pointer.
        next_path: String,
    },
    /// An answer has a `Link` header to the next one (RFC 8288), on the same origin.
    Link,
}

/// What a REST endpoint accepts as proof. Shows nothing, and is wiped when dropped.
#[derive(Clone, Debug)]
pub enum RestAuth {
    /// It asks for none.
    None,
    /// `Authorization: Bearer …`.
    Bearer(SecretText),
    /// `Authorization: Basic …`.
    Basic {
        /// The user.
        user: SecretText,
        /// The password.
        password: SecretText,
    },
    /// A header of its own.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: SecretText,
    },
}
