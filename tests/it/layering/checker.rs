//! The checker itself: what it must catch, and what it must leave alone.

use super::*;

/// The lines on which a snippet breaks the layering when it stands in `file`.
#[track_caller]
fn lines(file: &str, snippet: &str) -> Vec<usize> {
    let mut lines: Vec<usize> = layering(Path::new(file), snippet)
        .into_iter()
        .map(|breach| breach.line)
        .collect();
    lines.dedup();
    lines
}

#[test]
fn catches_every_way_to_import_upwards() {
    let upward = [
        "use crate::http::Router;",
        "pub use crate::http;",
        "pub(crate) use crate::{domain::ids, http::{self, auth}};",
        "use crate::{domain, http as door};",
        "use super::super::http::Router;",
        "use super::super::{http::Router, storage};",
        "fn f() { crate::http::start(); }",
        "fn f() -> crate::http::Router { todo() }",
        "fn f() { let x: Vec<crate::http::Router> = Vec::<crate::http::Router>::new(); }",
        "macro_rules! m { () => { $crate::http::start() } }",
        "#[derive(crate::http::Derive)] struct S;",
        "mod tests { use super::super::super::http::Router; }",
        "mod tests { fn f() {} }\nuse super::super::http::Router;",
        "/* a /* nested */ comment */ use crate::http::Router;",
        "const C: char = '\"'; use crate::http::Router; const D: char = '\"';",
        "const C: char = '\\''; use crate::http::Router; const D: char = '\\'';",
        "fn f<'a>(x: &'a str) { crate::http::start(x) } // 'a",
        "const S: &str = r#\"a \" quote\"#; use crate::http::Router;",
        "use crate::\n    http::Router;",
    ];
    for snippet in upward {
        let found = layering(Path::new("src/app/pulls.rs"), snippet);
        let rule = "`app` (rank 3) must not import `http` (rank 4)";
        assert!(!found.is_empty(), "{snippet:?} went through");
        assert!(
            found.iter().all(|breach| breach.rule.contains(rule)),
            "{snippet:?} gave {found:?}"
        );
    }
}

#[test]
fn catches_siblings_and_the_root() {
    assert_eq!(
        lines(
            "src/storage/mod.rs",
            "use crate::domain::ids;\nuse crate::vendors::Aggregator;"
        ),
        [2]
    );
    assert_eq!(lines("src/net.rs", "use super::config::Config;"), [1]);
    assert_eq!(lines("src/worker/runner.rs", "use crate::http;"), [1]);
    assert_eq!(lines("src/net.rs", "use super::*;"), [1]);
    assert_eq!(lines("src/app/mod.rs", "use crate::*;"), [1]);
    assert_eq!(lines("src/app/mod.rs", "use crate::{self as root};"), [1]);
    assert_eq!(lines("src/app/mod.rs", "use crate::nowhere::Thing;"), [1]);
    assert_eq!(lines("src/newcomer.rs", "fn f() {}"), [1]);
}

#[test]
fn catches_crates_away_from_home() {
    let away = [
        ("src/app/pulls.rs", "use sqlx::PgPool;"),
        ("src/http/mod.rs", "fn f(pool: &sqlx::PgPool) {}"),
        (
            "src/http/mod.rs",
            "fn f() { ::sqlx::query!(\"SELECT 1\"); }",
        ),
        (
            "src/vendors/pluggy/client.rs",
            "use {reqwest::Client, url::Url};",
        ),
        ("src/app/mod.rs", "use axum::Json;"),
        ("src/worker/mod.rs", "use tower::ServiceExt as _;"),
        ("src/storage/keys.rs", "use chacha20poly1305::aead::Aead;"),
        ("src/http/routes/tokens.rs", "use jsonwebtoken::encode;"),
        (
            "src/domain/ids.rs",
            "#[derive(utoipa::ToSchema)] struct Id;",
        ),
        (
            "src/cli/openapi.rs",
            "use utoipa_axum::router::OpenApiRouter;",
        ),
    ];
    for (file, snippet) in away {
        let found = layering(Path::new(file), snippet);
        assert_eq!(found.len(), 1, "{file}: {snippet:?} gave {found:?}");
        assert!(
            found[0].rule.contains("lives in"),
            "{file}: {snippet:?} gave {found:?}"
        );
    }
    assert_eq!(
        lines("src/http/auth/jwks.rs", "use jsonwebtoken::jwk::JwkSet;"),
        [0usize; 0]
    );
    assert_eq!(
        lines("src/http/auth.rs", "use jsonwebtoken::decode;"),
        [0usize; 0]
    );
    assert_eq!(
        lines("src/cli/token.rs", "use jsonwebtoken::encode;"),
        [0usize; 0]
    );
}

#[test]
fn catches_a_simulator_that_knows_the_vendors_code() {
    assert_eq!(
        lines(
            "src/local/simulator/pluggy.rs",
            "// like the vendors do\nuse crate::domain::vendor;"
        ),
        [0usize; 0]
    );
    assert_eq!(
        lines(
            "src/local/simulator/pluggy.rs",
            "fn f() {\n    vendors::pluggy();\n}"
        ),
        [2]
    );
    assert_eq!(
        lines("src/local/simulator.rs", "use super::super::vendors;"),
        [1]
    );
}

#[test]
fn leaves_honest_code_alone() {
    let honest = r##"
        //! See [`crate::http`] and `use crate::http::Router;`.
        /// Called by [`crate::worker`].
        /* use crate::http::Router; /* sqlx::query */ reqwest::get */
        use crate::{domain::{ids, clock::Clock}, storage as rows, vault::{self, Sealed}};
        use super::pulls::{self, Plan};
        use http::StatusCode; // the crate of that name, not our module
        pub(in crate::app) use self::inner::Thing;
        pub(super) fn f(sqlx: u8) -> u8 { let axum = sqlx; axum }
        const A: &str = "use crate::http::Router; \" sqlx::query";
        const B: &str = r#"crate::http::x "quoted" sqlx::query"#;
        const C: &[u8] = b"crate::http::x";
        #[doc = "crate::http::x"]
        fn g<'a>(x: &'a impl Fn() -> char) -> impl Iterator<Item = char> + use<'a> { std::iter::once('x') }
        mod tests {
            use super::*;
            use super::super::connections::Connection;
            mod deeper { use super::super::super::tokens; }
        }
        const fn h(r#type: char) -> bool { matches!(r#type, '\'' | '"' | '/' | '\u{1F600}') }
    "##;
    assert_none(&layering(Path::new("src/app/connections/mod.rs"), honest));
    assert_eq!(
        lines(
            "src/lib.rs",
            "pub use crate::http::Router; use sqlx::PgPool;"
        ),
        [0usize; 0]
    );
}

#[test]
fn catches_long_nameless_and_homely_files() {
    let rules = |file: &str, text: &str| housekeeping(Path::new(file), text).len();
    assert_eq!(rules("src/domain/ids.rs", &"//\n".repeat(MAX_LINES)), 0);
    assert_eq!(rules("src/domain/ids.rs", &"//\n".repeat(MAX_LINES + 1)), 1);
    assert_eq!(rules("src/http/utils.rs", ""), 1);
    assert_eq!(rules("tests/it/helpers/mod.rs", ""), 1);
    for home in HOME_DIRECTORIES {
        let line = format!("const PLACE: &str = \"{home}somebody\";");
        assert_eq!(rules("src/net.rs", &line), 1, "{line}");
    }
    assert_eq!(
        rules(
            "src/net.rs",
            concat!("// see ", env!("CARGO_MANIFEST_DIR"), "/src/net.rs")
        ),
        1
    );
    assert_eq!(rules("src/net.rs", "// see src/net.rs"), 0);
}
