//! Headers, times and claims, with a shared secret.

use std::sync::LazyLock;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::domain::{caller::Scopes, ids::TenantId};

#[tokio::test]
async fn a_good_token_names_its_caller() {
    let caller = ask(&with_secret(), &token(&claims())).await;
    assert_eq!(
        caller,
        Ok(Caller {
            tenant: TENANT.parse().expect("an id"),
            subject: "someone".to_owned(),
            scopes: Scopes::ALL,
        })
    );
}

#[tokio::test]
async fn every_hmac_algorithm_verifies_with_the_secret_and_with_no_other() {
    let other = EncodingKey::from_secret(b"another secret of over thirty-two bytes");
    for (name, algorithm) in [
        ("HS256", Algorithm::HS256),
        ("HS384", Algorithm::HS384),
        ("HS512", Algorithm::HS512),
    ] {
        let header = json!({"alg": name});
        let good = signed(
            header.clone(),
            &claims(),
            &EncodingKey::from_secret(SECRET),
            algorithm,
        );
        assert_eq!(refusal(&with_secret(), &good).await, None, "{name}");
        let bad = signed(header, &claims(), &other, algorithm);
        let found = refusal(&with_secret(), &bad).await;
        assert_eq!(found, Some(Refusal::Signature), "{name}");
    }
}

#[tokio::test]
async fn a_changed_token_is_refused_wherever_it_changed() {
    let authenticator = with_secret();
    let good = token(&claims());
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        assert!(
            refusal(&authenticator, &changed).await.is_some(),
            "changed at {place}"
        );
    }
}

#[tokio::test]
async fn the_scheme_may_be_in_any_case_and_nothing_but_bearer() {
    let authenticator = with_secret();
    let good = token(&claims());
    for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer   "] {
        let headers = header(&format!("{scheme}{good}"));
        assert!(authenticator.authenticate(&headers).await.is_ok());
    }
    for value in [
        good.clone(),
        format!("Basic {good}"),
        format!("Token {good}"),
        format!("Bearer{good}"),
        format!(" Bearer {good}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ] {
        let answer = authenticator.authenticate(&header(&value)).await;
        assert_eq!(answer, Err(AuthError::MissingToken), "{value}");
    }
    let answer = authenticator.authenticate(&HeaderMap::new()).await;
    assert_eq!(answer, Err(AuthError::MissingToken));
}

#[tokio::test]
async fn several_tokens_are_refused_even_if_all_are_good() {
    let authenticator = with_secret();
    let good = token(&claims());
    let mut headers = header(&format!("Bearer {good}"));
    headers.append(AUTHORIZATION, headers[AUTHORIZATION].clone());
    let answer = authenticator.authenticate(&headers).await;
    assert_eq!(answer, Err(AuthError::InvalidToken));

    for joined in [format!("{good}, Bearer {good}"), format!("{good} {good}")] {
        let found = refusal(&authenticator, &joined).await;
        assert_eq!(found, Some(Refusal::Malformed));
    }
}

#[tokio::test]
async fn a_token_may_be_as_long_as_the_limit() {
    let authenticator = with_secret();
    let with_padding = |length| token(&claims_with(json!({"padding": "x".repeat(length)})));
    // Three bytes of claims are four of the token, so one of these lengths fits exactly.
    let longest = (5000..7000)
        .map(with_padding)
        .find(|token| token.len() == MAX_TOKEN)
        .expect("a token of just this length");
    assert!(ask(&authenticator, &longest).await.is_ok());
    let answer = ask(&authenticator, &format!("{longest}A")).await;
    assert_eq!(answer, Err(AuthError::InvalidToken));
    assert_eq!(
        bearer(&header(&format!("Bearer {longest}A"))),
        Err(Refusal::TooLong)
    );
}

#[tokio::test]
async fn text_that_is_no_token_is_malformed() {
    let authenticator = with_secret();
    let header = part(&json!({"alg": "HS256"}));
    let claims = part(&claims());
    for text in [
        "x".to_owned(),
        "..".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.AA.AA"),
        format!("{header}.{claims}.AA.AA.AA"),
        format!("{header}=.{claims}.AA"),
        format!("{}.{claims}.AA", part(&json!([]))),
        format!("{}.{claims}.AA", part(&json!({}))),
        format!("{}.{claims}.AA", part(&json!({"alg": 5}))),
        format!("{}.{claims}.AA", part(&json!({"alg": null}))),
        format!("{}.{claims}.AA", part(&json!({"alg": "HS256", "kid": 5}))),
        format!(
            "{}.{claims}.AA",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#)
        ),
        format!("{}.{claims}.AA", URL_SAFE_NO_PAD.encode(b"\xff{}")),
        format!("{}.{claims}.AA", URL_SAFE_NO_PAD.encode("[".repeat(3000))),
    ] {
        let found = refusal(&authenticator, &text).await;
        assert_eq!(found, Some(Refusal::Malformed), "{text}");
    }
    for claims in [json!([]), json!("text"), json!(null)] {
        let found = refusal(&authenticator, &token(&claims)).await;
        assert_eq!(found, Some(Refusal::Malformed), "{claims}");
    }
}

#[tokio::test]
async fn an_extension_that_must_be_understood_is_refused() {
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let key = EncodingKey::from_secret(SECRET);
    let token = signed(header, &claims(), &key, Algorithm::HS256);
    let found = refusal(&with_secret(), &token).await;
    assert_eq!(found, Some(Refusal::Critical));
}

#[tokio::test]
async fn a_token_is_good_until_a_minute_after_its_expiry() {
    let (authenticator, clock) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        ..rules()
    });
    let token = token(&claims());
    clock.advance(TimeDelta::seconds(600 + 59));
    assert_eq!(refusal(&authenticator, &token).await, None);
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        refusal(&authenticator, &token).await,
        Some(Refusal::Expired)
    );
}

#[tokio::test]
async fn a_token_is_good_from_a_minute_before_its_start() {
    let (authenticator, clock) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        ..rules()
    });
    let token = token(&claims_with(json!({"nbf": NOW + 61})));
    assert_eq!(refusal(&authenticator, &token).await, Some(Refusal::NotYet));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(refusal(&authenticator, &token).await, None);
}

#[tokio::test]
async fn times_must_be_numbers_that_mean_something() {
    let authenticator = with_secret();
    for (exp, expected) in [
        (json!(null), Some(Refusal::NoExpiry)),
        (json!("2000000600"), Some(Refusal::NoExpiry)),
        (json!(true), Some(Refusal::NoExpiry)),
        (json!([NOW + 600]), Some(Refusal::NoExpiry)),
        (json!(1e300), Some(Refusal::NoExpiry)),
        (json!(1.5e300), Some(Refusal::NoExpiry)),
        (json!(u64::MAX), Some(Refusal::NoExpiry)),
        (json!(0), Some(Refusal::Expired)),
        (json!(-1), Some(Refusal::Expired)),
        (json!(i64::MIN), Some(Refusal::Expired)),
        // As by an issuer that counts in milliseconds: far away, but a time.
        (json!(2_000_000_600_000_i64), None),
        (json!(i64::MAX), None),
        (json!(2_000_000_000.75), None),
        (json!(1_999_999_940.99), Some(Refusal::Expired)),
    ] {
        let found = refusal(&authenticator, &token(&claims_with(json!({"exp": exp})))).await;
        assert_eq!(found, expected, "{exp}");
    }
    for (nbf, expected) in [
        (json!(0), None),
        (json!(i64::MIN), None),
        (json!(i64::MAX), Some(Refusal::NotYet)),
        (json!("0"), Some(Refusal::NotYet)),
        (json!({}), Some(Refusal::NotYet)),
    ] {
        let found = refusal(&authenticator, &token(&claims_with(json!({"nbf": nbf})))).await;
        assert_eq!(found, expected, "{nbf}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let (strict, _) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        issuer: Some("https://issuer.example/".to_owned()),
        audience: Some("discovery".to_owned()),
        ..rules()
    });
    let good = json!({"iss": "https://issuer.example/", "aud": "discovery"});
    assert_eq!(
        refusal(&strict, &token(&claims_with(good.clone()))).await,
        None
    );
    for issuer in [
        json!(null),
        json!(""),
        json!("https://issuer.example"),
        json!("https://ISSUER.example/"),
        json!(["https://issuer.example/"]),
        json!(5),
    ] {
        let mut claims = claims_with(good.clone());
        claims["iss"] = issuer.clone();
        let found = refusal(&strict, &token(&claims)).await;
        assert_eq!(found, Some(Refusal::Issuer), "{issuer}");
    }
    for (audience, accepted) in [
        (json!(["other", "discovery"]), true),
        (json!(null), false),
        (json!(""), false),
        (json!("discovery2"), false),
        (json!("other discovery"), false),
        (json!([]), false),
        (json!(["other"]), false),
        (json!([["discovery"]]), false),
        (json!({"discovery": true}), false),
    ] {
        let mut claims = claims_with(good.clone());
        claims["aud"] = audience.clone();
        let found = refusal(&strict, &token(&claims)).await;
        let expected = (!accepted).then_some(Refusal::Audience);
        assert_eq!(found, expected, "{audience}");
    }
    // Without configuration, whatever the token says of itself is as good as nothing.
    let claims = claims_with(json!({"iss": "anybody", "aud": "anything"}));
    assert_eq!(refusal(&with_secret(), &token(&claims)).await, None);
}

#[tokio::test]
async fn the_tenant_is_a_uuid_of_one_claim() {
    let authenticator = with_secret();
    let missing = json!(null);
    let nil = json!("00000000-0000-0000-0000-000000000000");
    for (snake, camel, expected) in [
        (json!(TENANT), missing.clone(), Some(TENANT)),
        (missing.clone(), json!(TENANT), Some(TENANT)),
        (json!(TENANT), json!(OTHER_TENANT), Some(TENANT)),
        (json!(TENANT), json!("nonsense"), Some(TENANT)),
        (json!(TENANT.to_uppercase()), missing.clone(), Some(TENANT)),
        (missing.clone(), missing.clone(), None),
        // What is there and wrong does not give way to the other claim.
        (json!(""), json!(TENANT), None),
        (json!("nonsense"), json!(TENANT), None),
        (json!(5), json!(TENANT), None),
        (json!([TENANT]), json!(TENANT), None),
        (nil.clone(), json!(TENANT), None),
        (missing.clone(), nil, None),
        (missing.clone(), json!(""), None),
        (missing.clone(), json!({"id": TENANT}), None),
        (json!(format!(" {TENANT}")), missing.clone(), None),
        (json!(format!("{TENANT}0")), missing.clone(), None),
    ] {
        let mut claims = claims();
        claims["tenant_id"] = snake.clone();
        claims["tenantId"] = camel.clone();
        let answer = ask(&authenticator, &token(&claims)).await;
        let expected = expected
            .map(|id| id.parse::<TenantId>().expect("an id"))
            .ok_or(AuthError::NoTenant);
        assert_eq!(
            answer.map(|caller| caller.tenant),
            expected,
            "{snake} {camel}"
        );
    }
    let answer = ask(
        &authenticator,
        &token(&claims_with(json!({"tenant_id": null}))),
    )
    .await;
    assert_eq!(answer, Err(AuthError::NoTenant));
}

#[tokio::test]
async fn the_subject_is_kept_to_a_bounded_length() {
    let authenticator = with_secret();
    for (subject, kept) in [
        (json!("someone"), "someone".to_owned()),
        (json!(null), String::new()),
        (json!(5), String::new()),
        (json!("é".repeat(256)), "é".repeat(256)),
        (json!("é".repeat(257)), "é".repeat(256)),
    ] {
        let token = token(&claims_with(json!({"sub": subject})));
        let caller = ask(&authenticator, &token).await.expect("a caller");
        assert_eq!(caller.subject, kept);
    }
}

#[tokio::test]
async fn scopes_come_from_both_claims_and_from_neither_only_by_rule() {
    const NONE: Scopes = Scopes {
        read: false,
        write: false,
    };
    const READ: Scopes = Scopes {
        read: true,
        write: false,
    };
    const WRITE: Scopes = Scopes {
        read: false,
        write: true,
    };
    let (required, _) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        scopes: ScopeRule::Required,
        ..rules()
    });
    let bare = token(&claims());
    let scopes = |answer: Result<Caller, AuthError>| answer.expect("a caller").scopes;
    assert_eq!(scopes(ask(&with_secret(), &bare).await), Scopes::ALL);
    assert_eq!(scopes(ask(&required, &bare).await), NONE);

    for (carried, expected) in [
        (json!({"scope": "discovery:read"}), READ),
        (json!({"scope": "openid  discovery:write x"}), WRITE),
        (
            json!({"scope": "discovery:write discovery:read"}),
            Scopes::ALL,
        ),
        (json!({"permissions": ["discovery:read"]}), READ),
        (
            json!({"scope": "discovery:read", "permissions": ["discovery:write"]}),
            Scopes::ALL,
        ),
        (json!({"scope": "discovery:read", "permissions": []}), READ),
        // Carried, but nothing that grants anything.
        (json!({"scope": ""}), NONE),
        (json!({"scope": "openid"}), NONE),
        (
            json!({"scope": "discovery:reader Discovery:Read discovery:*"}),
            NONE,
        ),
        (json!({"scope": "discovery:read,discovery:write"}), NONE),
        (json!({"scope": "discovery:read\tdiscovery:write"}), NONE),
        (json!({"permissions": []}), NONE),
        (
            json!({"permissions": ["discovery:read discovery:write"]}),
            NONE,
        ),
        // Carried, but not in its shape.
        (json!({"scope": null}), NONE),
        (json!({"scope": ["discovery:read"]}), NONE),
        (json!({"permissions": "discovery:read"}), NONE),
        (json!({"permissions": null}), NONE),
        (json!({"permissions": [5, {}, "discovery:read"]}), READ),
    ] {
        let mut claims = claims();
        for (name, value) in carried.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        for authenticator in [&with_secret(), &required] {
            let found = scopes(ask(authenticator, &token(&claims)).await);
            assert_eq!(found, expected, "{carried}");
        }
    }
}

#[tokio::test]
async fn a_minted_token_is_accepted_for_as_long_as_it_was_minted_for() {
    let (authenticator, clock) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        scopes: ScopeRule::Required,
        ..rules()
    });
    let tenant: TenantId = TENANT.parse().expect("an id");
    let hour = Duration::from_hours(1);
    let token = mint::mint(SECRET, &grant(tenant, "discovery:read", hour), &*clock);
    assert_eq!(
        ask(&authenticator, &token).await,
        Ok(Caller {
            tenant,
            subject: "operator".to_owned(),
            scopes: Scopes {
                read: true,
                write: false
            },
        })
    );
    clock.advance(TimeDelta::seconds(3600 + 60));
    assert_eq!(
        refusal(&authenticator, &token).await,
        Some(Refusal::Expired)
    );

    let forever = mint::mint(SECRET, &grant(tenant, "", Duration::MAX), &*clock);
    assert!(ask(&authenticator, &forever).await.is_ok());
}

#[test]
fn rules_that_protect_nothing_are_refused() {
    let made = |rules| Authenticator::new(rules, ManualClock::new(), client()).err();
    let secret = |bytes: &[u8]| TokenRules {
        hmac_secret: Some(bytes.to_vec().into()),
        ..rules()
    };
    assert_eq!(made(rules()), Some(RulesError::NoKey));
    assert_eq!(made(secret(b"")), Some(RulesError::ShortSecret));
    assert_eq!(made(secret(&[7; 31])), Some(RulesError::ShortSecret));
    assert_eq!(made(secret(&[7; 32])), None);
    let pem = include_bytes!("keys/rsa-public.pem");
    assert_eq!(made(secret(pem)), Some(RulesError::PemSecret));

    for (url, flag, expected) in [
        ("https://issuer.example/keys", false, None),
        (
            "http://issuer.example/keys",
            true,
            Some(RulesError::InsecureUrl),
        ),
        ("http://127.0.0.1:1/keys", true, None),
        ("http://[::1]:1/keys", true, None),
        ("http://localhost/keys", true, None),
        (
            "http://127.0.0.1:1/keys",
            false,
            Some(RulesError::InsecureUrl),
        ),
        (
            "http://localhost.evil.example/",
            true,
            Some(RulesError::InsecureUrl),
        ),
        ("file:///keys", true, Some(RulesError::InsecureUrl)),
    ] {
        let rules = TokenRules {
            jwks: Some(KeySource::Url(url.parse().expect("a URL"))),
            jwks_over_loopback_http: flag,
            ..rules()
        };
        assert_eq!(made(rules), expected, "{url}");
    }
}

#[test]
fn no_secret_is_shown() {
    let rules = TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        ..rules()
    };
    let shown = format!("{rules:?} {:?}", with_secret());
    assert!(shown.contains("IfPresent"), "{shown}");
    assert!(!shown.contains("thirty"), "{shown}");
    assert!(!shown.contains(&format!("{SECRET:?}")), "{shown}");
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (NOW - 100..NOW + 1000).prop_map(Value::from),
        Just(json!(TENANT)),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,3}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Claims with the names that matter and any values.
fn any_claims() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "exp",
        "nbf",
        "iss",
        "aud",
        "sub",
        "tenant_id",
        "tenantId",
        "scope",
        "permissions",
    ]);
    prop::collection::hash_map(names.prop_map(str::to_owned), any_json(), 0..9)
        .prop_map(|claims| Value::Object(claims.into_iter().collect()))
}

static GIVEN: LazyLock<(Runtime, Authenticator)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    (runtime.expect("a runtime"), with_secret())
});

proptest! {
    #[test]
    fn garbage_is_refused(text in "\\PC{0,200}") {
        let (runtime, authenticator) = &*GIVEN;
        prop_assert!(runtime.block_on(authenticator.verify(&text)).is_err());
    }

    #[test]
    fn unsigned_json_is_refused(
        header in any_json(),
        claims in any_claims(),
        signature in "[A-Za-z0-9_-]{0,90}",
    ) {
        let (runtime, authenticator) = &*GIVEN;
        let text = format!("{}.{}.{signature}", part(&header), part(&claims));
        prop_assert!(runtime.block_on(authenticator.verify(&text)).is_err());
    }

    #[test]
    fn signed_claims_of_any_shape_are_read_or_refused(claims in any_claims()) {
        let (runtime, authenticator) = &*GIVEN;
        if let Ok(caller) = runtime.block_on(ask(authenticator, &token(&claims))) {
            prop_assert!(claims["exp"].as_i64().is_some_and(|exp| exp + 60 > NOW));
            prop_assert_eq!(caller.tenant.to_string(), TENANT);
        }
    }

    #[test]
    fn any_header_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let (runtime, authenticator) = &*GIVEN;
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            prop_assert!(runtime.block_on(authenticator.authenticate(&headers)).is_err());
        }
    }
}

fn grant(tenant: TenantId, scopes: &str, ttl: Duration) -> mint::Grant<'_> {
    mint::Grant {
        tenant,
        scopes,
        ttl,
        issuer: None,
        audience: None,
    }
}
