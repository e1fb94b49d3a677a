//! The OpenAPI document, made of the handlers themselves.
//!
//! It is committed, and compared with what the server would answer, so that neither can drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Serialize;
use serde_json::Value;
use utoipa::{
    IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        self, Content, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{Api, problem::Code, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "matcher-discovery",
        description = "Where a tenant's Open-Finance aggregator connections live.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "Discovery", description = "Aggregator connections, their accounts and transactions, webhook tokens; database and REST connections and what they offer, connector types"),
        (name = "Operations", description = "What operators and their machines ask")
    ),
    components(schemas(Detail, ErrorDetail)),
    modifiers(&BearerAuth)
)]
struct Description;

struct BearerAuth;

impl Modify for BearerAuth {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "Bearer token authentication (format: \"Bearer {token}\")",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("BearerAuth", SecurityScheme::Http(scheme));
    }
}

/// A problem (RFC 9457).
#[expect(
    clippy::struct_field_names,
    reason = "both names are those of the published document"
)]
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Detail {
    /// Stable, machine-readable domain error code scoped to the emitting service (format: <SERVICE>-NNNN).
    #[schema(examples("MTCH-0001"), nullable = false)]
    code: Option<String>,
    /// A human-readable explanation specific to this occurrence of the problem.
    #[schema(
        examples("body.vendor must be one of: pluggy, belvo"),
        nullable = false
    )]
    detail: Option<String>,
    /// Optional list of individual error details
    errors: Option<Vec<ErrorDetail>>,
    /// A URI reference that identifies the specific occurrence of the problem.
    #[schema(
        format = "uri",
        examples("urn:request:019a2f4e-5c1b-7d2e-8f3a-1b2c3d4e5f60"),
        nullable = false
    )]
    instance: Option<String>,
    /// HTTP status code
    #[schema(examples(400), nullable = false)]
    status: Option<i64>,
    /// A short, human-readable summary of the problem type. This value should not change between occurrences of the error.
    #[schema(examples("Invalid request"), nullable = false)]
    title: Option<String>,
    /// A URI reference to human-readable documentation for the error.
    #[schema(
        format = "uri",
        default = "about:blank",
        examples("https://discovery.example.com/errors/MTCH-0001"),
        nullable = false
    )]
    r#type: Option<String>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorDetail {
    /// Where the error occurred, e.g. 'body.items[3].tags' or 'path.thing-id'
    #[schema(nullable = false)]
    location: Option<String>,
    /// Error message text
    #[schema(nullable = false)]
    message: Option<String>,
    /// The value at the given location
    value: Option<Value>,
}

/// An empty document, to which the routes add themselves.
pub(super) fn empty() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
}

/// The document.
#[must_use]
pub fn document() -> openapi::OpenApi {
    routes().into_openapi()
}

/// The document as it is committed and answered.
#[must_use]
pub fn to_pretty_json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = document().to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

/// A route's template as a label: a name out of the program, whatever was asked for.
pub(super) fn template(path: &str) -> Option<&'static str> {
    static TEMPLATES: LazyLock<BTreeSet<String>> =
        LazyLock::new(|| document().paths.paths.into_keys().collect());
    TEMPLATES.get(path).map(String::as_str)
}

/// The response for each status that these codes are answered with, and one for whatever else.
fn responses_of(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for code in codes {
        told.entry(code.status().as_str().to_owned())
            .or_default()
            .push(format!("{code} {}", code.title()));
    }
    told.into_iter()
        .map(|(status, codes)| (status, problem(codes.join("; "))))
        .chain([("default".to_owned(), problem("Error".to_owned()))])
        .collect()
}

fn problem(description: String) -> RefOr<Response> {
    let content = Content::new(Some(Ref::from_schema_name("Detail")));
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
        .into()
}

/// Names the problems of a kind of operation, besides those that every operation has.
macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident = [$($code:ident),*];)+) => {
        $(
            $(#[doc = $doc])+
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses_of(&[
                        Code::Unauthorized, Code::Forbidden, Code::Internal, Code::Unavailable,
                        $(Code::$code),*
                    ])
                }
            }
        )+
    };
}

problems! {
    /// Of reading something that is always there.
    ReadProblems = [];
    /// Of reading a list.
    ListProblems = [InvalidRequest, InvalidPage];
    /// Of reading or deleting one connection.
    OneProblems = [ConnectionNotFound];
    /// Of reading a list of what belongs to one connection.
    ListOfOneProblems = [InvalidRequest, InvalidPage, ConnectionNotFound];
    /// Of reading one transaction.
    TransactionProblems = [NotFound];
    /// Of reading a list of what belongs to one transaction.
    ListOfTransactionProblems = [InvalidRequest, InvalidPage, NotFound];
    /// Of testing a connection to a source.
    SourceTestProblems = [ConnectionNotFound, TooManyRequests, SourceUnavailable];
    /// Of refreshing every connection to a source.
    RefreshProblems = [RefreshInProgress, SourceUnavailable];
    /// Of creating a connection to a source.
    SourceCreateProblems = [
        InvalidRequest, ConfigNameTaken, BodyTooLarge, UnsupportedMediaType
    ];
    /// Of creating a connection to a REST endpoint.
    RestCreateProblems = [
        InvalidRequest, ConfigNameTaken, BodyTooLarge, UnsupportedMediaType, SourceUnavailable
    ];
    /// Of changing a connection to a REST endpoint.
    RestChangeProblems = [
        InvalidRequest, ConnectionNotFound, ConfigNameTaken, ConnectionChanged, BodyTooLarge,
        UnsupportedMediaType
    ];
    /// Of changing a connection to a source.
    SourceChangeProblems = [
        InvalidRequest, ConnectionNotFound, ConfigNameTaken, ConnectionChanged, BodyTooLarge,
        UnsupportedMediaType, SourceUnavailable
    ];
    /// Of creating a connection.
    CreateProblems = [
        InvalidRequest, BaseUrlNotAllowed, ConfigNameTaken, BodyTooLarge, UnsupportedMediaType
    ];
    /// Of changing a connection.
    ChangeProblems = [
        InvalidRequest, HalfCredential, BaseUrlNotAllowed, ConnectionNotFound, ConfigNameTaken,
        ConnectionChanged, BodyTooLarge, UnsupportedMediaType
    ];
    /// Of testing a connection.
    TestProblems = [
        InvalidRequest, ConnectionNotFound, TooManyRequests, BodyTooLarge, UnsupportedMediaType
    ];
    /// Of asking for a pull.
    PullRequestProblems = [
        InvalidRequest, ConnectionNotFound, BodyTooLarge, UnsupportedMediaType
    ];
    /// Of reading a pull.
    PullProblems = [PullNotFound];
    /// Of retrying or cancelling a pull.
    PullChangeProblems = [PullNotFound, ConnectionNotFound, Conflict];
    /// Of asking for an extraction.
    ExtractionRequestProblems = [
        InvalidRequest, InvalidExtraction, ConnectionNotFound, Conflict, TooManyRequests, SourceUnavailable,
        BodyTooLarge, UnsupportedMediaType
    ];
    /// Of reading an extraction.
    ExtractionProblems = [ExtractionNotFound];
    /// Of retrying or cancelling an extraction.
    ExtractionChangeProblems = [ExtractionNotFound, ConnectionNotFound, Conflict];
    /// Of giving the rows of an extraction up.
    ExtractionRowsDeletionProblems = [ExtractionNotFound, Conflict];
    /// Of taking the rows of an extraction.
    ExtractionRowsProblems = [
        InvalidRequest, InvalidExtraction, ExtractionNotFound, Conflict, SourceUnavailable
    ];
    /// Of replaying a delivery.
    DeliveryProblems = [DeliveryNotFound, ConnectionNotFound, Conflict];
    /// Of minting a token.
    MintProblems = [InvalidRequest, ConnectionNotFound, BodyTooLarge, UnsupportedMediaType];
    /// Of revoking a token.
    TokenProblems = [WebhookTokenNotFound];
    /// Of rotating a token.
    RotateProblems = [
        InvalidRequest, WebhookTokenNotFound, Conflict, BodyTooLarge, UnsupportedMediaType
    ];
}

/// The problems of receiving a webhook.
pub(super) struct WebhookProblems;

impl IntoResponses for WebhookProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses_of(&[
            Code::WebhookRefused,
            Code::BodyTooLarge,
            Code::Internal,
            Code::Unavailable,
        ])
    }
}

/// The problems of an operation that anybody may call.
pub(super) struct OpenProblems;

impl IntoResponses for OpenProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses_of(&[Code::Internal])
    }
}
