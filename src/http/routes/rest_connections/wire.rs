//! What is asked of a REST connection, and what is answered of it.

use serde::Serialize;
use utoipa::{ToSchema, openapi::schema::Object};

use crate::{
    app::RestConnection,
    domain::{
        discovery::Health,
        rest::{Paging, Resource},
    },
    http::{
        page::list_response,
        routes::{instant, words},
    },
};

list_response! {
    /// A page of the tenant's REST connections.
    RestConnectionList of RestConnectionResponse
}

fn status_words() -> Object {
    words(Health::ALL.iter().map(|health| health.as_str()))
}

fn auth_words() -> Object {
    words(["none", "bearer", "basic", "header"].into_iter())
}

fn paging_words() -> Object {
    words(["none", "page", "cursor", "link"].into_iter())
}

/// A REST connection to create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CreateRestConnectionRequest {
    /// Connection configuration name, unique in the tenant among connections of every kind
    #[schema(min_length = 1, max_length = 100, examples("erp-receivables"))]
    config_name: String,
    /// What every path is relative to: https, a public host or one that the deployment lists
    #[schema(
        format = "uri",
        min_length = 1,
        max_length = 512,
        examples("https://erp.example.com/api")
    )]
    base_url: String,
    /// What proves who we are
    auth: RestAuthRequest,
    /// The lists that the endpoint offers
    #[schema(max_items = 100)]
    resources: Vec<RestResource>,
}

/// A change of a REST connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct UpdateRestConnectionRequest {
    /// Connection configuration name, unique in the tenant among connections of every kind
    #[schema(min_length = 1, max_length = 100, examples("erp-receivables"))]
    config_name: String,
    /// What every path is relative to: https, a public host or one that the deployment lists
    #[schema(
        format = "uri",
        min_length = 1,
        max_length = 512,
        examples("https://erp.example.com/api")
    )]
    base_url: String,
    /// What proves who we are; left out, the sealed one stays while the base URL stays on its origin
    #[schema(nullable = false)]
    auth: Option<RestAuthRequest>,
    /// The lists that the endpoint offers
    #[schema(max_items = 100)]
    resources: Vec<RestResource>,
}

/// What proves who we are (sealed; never emitted). Which members belong to it depends on the type.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestAuthRequest {
    /// Which kind of proof
    #[schema(schema_with = auth_words)]
    r#type: &'static str,
    /// Of bearer: the token, without the word Bearer
    #[schema(min_length = 1, max_length = 4096, nullable = false)]
    token: Option<String>,
    /// Of basic: the user
    #[schema(min_length = 1, max_length = 4096, nullable = false)]
    user_name: Option<String>,
    /// Of basic: the password, which may be empty
    #[schema(max_length = 4096, nullable = false)]
    password: Option<String>,
    /// Of header: the header's name
    #[schema(
        min_length = 1,
        max_length = 100,
        examples("X-Api-Key"),
        nullable = false
    )]
    name: Option<String>,
    /// Of header: the header's value
    #[schema(min_length = 1, max_length = 4096, nullable = false)]
    value: Option<String>,
}

/// A list of records, read like a table. Which members belong to it depends on the paging.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestResource {
    /// The name it is read by
    #[schema(min_length = 1, max_length = 100, examples("receivables"))]
    name: String,
    /// Its path below the base URL; may have a query
    #[schema(
        min_length = 1,
        max_length = 1024,
        examples("/v1/receivables?status=open")
    )]
    path: String,
    /// Where in an answer its records are: a JSON pointer; left out or empty, the whole answer
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, examples("/data/items"), nullable = false)]
    record_path: Option<String>,
    /// How it is read from page to page; left out, one answer holds everything
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = paging_words, required = false)]
    paging: Option<&'static str>,
    /// Of page: the parameter that takes the number
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, examples("page"), nullable = false)]
    page_parameter: Option<String>,
    /// Of page: the number of the first page, 1 unless given
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000, nullable = false)]
    first_page: Option<u32>,
    /// Of page: the parameter that takes how many records a page may have; with pageSize
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, examples("limit"), nullable = false)]
    size_parameter: Option<String>,
    /// Of page: how many records to ask for; with sizeParameter
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000, nullable = false)]
    page_size: Option<u32>,
    /// Of cursor: the parameter that takes the cursor
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, examples("after"), nullable = false)]
    cursor_parameter: Option<String>,
    /// Of cursor: where in an answer the next cursor is, a JSON pointer
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 1024,
        examples("/meta/next"),
        nullable = false
    )]
    cursor_path: Option<String>,
}

impl From<Resource> for RestResource {
    fn from(resource: Resource) -> Self {
        let mut told = Self {
            name: resource.name,
            path: resource.path,
            record_path: Some(resource.record_path),
            paging: Some(resource.paging.kind()),
            page_parameter: None,
            first_page: None,
            size_parameter: None,
            page_size: None,
            cursor_parameter: None,
            cursor_path: None,
        };
        match resource.paging {
            Paging::None | Paging::Link => {}
            Paging::Page {
                parameter,
                first,
                size,
            } => {
                told.page_parameter = Some(parameter);
                told.first_page = Some(first);
                (told.size_parameter, told.page_size) = size.unzip();
            }
            Paging::Cursor {
                parameter,
                next_path,
            } => {
                told.cursor_parameter = Some(parameter);
                told.cursor_path = Some(next_path);
            }
        }
        told
    }
}

/// A REST connection, free of secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RestConnectionResponse {
    /// Connection id
    id: String,
    /// Connection configuration name
    #[schema(examples("erp-receivables"))]
    config_name: String,
    /// What every path is relative to
    #[schema(format = "uri", examples("https://erp.example.com/api"))]
    base_url: String,
    /// Which kind of proof is sealed
    #[schema(schema_with = auth_words)]
    auth_type: String,
    /// The lists that the endpoint offers
    resources: Vec<RestResource>,
    /// How the endpoint was found when it was last looked at
    #[schema(schema_with = status_words)]
    status: &'static str,
    /// Whether the columns of its resources are known
    schema_discovered: bool,
    /// When the endpoint last answered; absent until it did
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_seen_at: Option<String>,
}

impl From<RestConnection> for RestConnectionResponse {
    fn from(one: RestConnection) -> Self {
        let connection = one.connection;
        Self {
            id: connection.id.to_string(),
            config_name: connection.config_name.to_string(),
            base_url: one.place.base_url.to_string(),
            auth_type: one.auth_kind,
            resources: one.place.resources.into_iter().map(Into::into).collect(),
            status: connection.health.as_str(),
            schema_discovered: connection.schema_discovered_at.is_some(),
            last_seen_at: connection.last_seen_at.map(instant),
        }
    }
}
