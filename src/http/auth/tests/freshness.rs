//! How public keys are kept fresh: changed files, busy, rotating and failing issuers.

use std::fs;

use axum::http::StatusCode;
use futures_util::{FutureExt, future::join_all};

use super::{issuer::*, *};

async fn settled(authenticator: &Authenticator) {
    let keys = authenticator.keys.as_ref().expect("a key store");
    keys.settled().await;
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
    let file = key_file(&[RSA.jwk("old")]);
    let (authenticator, clock) = with_file(&file);
    let (old, new) = (RSA.token(Some("old")), RSA_NEXT.token(Some("new")));
    assert_eq!(refusal(&authenticator, &old).await, None);

    fs::write(file.path(), "half a file {").expect("a written file");
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(refusal(&authenticator, &old).await, None);

    fs::remove_file(file.path()).expect("a removed file");
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(refusal(&authenticator, &old).await, None);

    // Of another length, so that it shows whatever the resolution of the file's time is.
    fs::write(file.path(), key_set(&[RSA_NEXT.jwk("new")])).expect("a written file");
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        refusal(&authenticator, &old).await,
        Some(Refusal::UnknownKey)
    );
    assert_eq!(refusal(&authenticator, &new).await, None);
}

#[tokio::test]
async fn an_unknown_key_id_reads_a_file_that_hides_its_change() {
    let file = key_file(&[RSA.jwk("a")]);
    let (authenticator, clock) = with_file(&file);
    assert_eq!(refusal(&authenticator, &RSA.token(Some("a"))).await, None);

    let modified = fs::metadata(file.path()).and_then(|metadata| metadata.modified());
    fs::write(file.path(), key_set(&[RSA.jwk("b")])).expect("a written file");
    file.as_file()
        .set_modified(modified.expect("a time"))
        .expect("a set time");
    let unknown = RSA.token(Some("b"));
    clock.advance(TimeDelta::seconds(29));
    assert_eq!(
        refusal(&authenticator, &unknown).await,
        Some(Refusal::UnknownKey)
    );
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(refusal(&authenticator, &unknown).await, None);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let file = key_file(&[]);
    let (authenticator, _) = with_file(&file);
    assert_eq!(authenticator.load_keys().await.ok(), Some(0));

    for text in ["", "[]", "{}", r#"{"keys": {}}"#] {
        fs::write(file.path(), text).expect("a written file");
        let error = authenticator.load_keys().await.expect_err(text);
        assert!(matches!(error, KeySetError::Malformed(_)), "{text}");
    }
    let path = file.path().to_owned();
    drop(file);
    let error = authenticator.load_keys().await.expect_err("no file");
    let named = path.to_str().expect("a plain path");
    assert!(error.to_string().contains(named), "{error}");
}

#[tokio::test]
async fn the_issuer_is_asked_once_for_many_tokens() {
    let issuer = Issuer::start(&[RSA.jwk("k")]).await;
    let (authenticator, clock) = issuer.authenticator();
    let token = RSA.token(Some("k"));
    let answers = join_all((0..20).map(|_| ask(&authenticator, &token))).await;
    assert!(answers.iter().all(Result::is_ok));
    clock.advance(TimeDelta::seconds(10 * 60 - 1));
    assert!(ask(&authenticator, &token).await.is_ok());
    settled(&authenticator).await;
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn fifty_unknown_key_ids_ask_the_issuer_once() {
    let issuer = Issuer::start(&[RSA.jwk("k")]).await;
    let (authenticator, clock) = issuer.authenticator();
    assert!(ask(&authenticator, &RSA.token(Some("k"))).await.is_ok());
    let tokens: Vec<String> = (0..50)
        .map(|number| RSA.token(Some(&format!("unknown-{number}"))))
        .collect();

    // Loaded just now: no reason to ask at all.
    join_all(tokens.iter().map(|token| ask(&authenticator, token))).await;
    clock.advance(TimeDelta::seconds(29));
    join_all(tokens.iter().map(|token| ask(&authenticator, token))).await;
    assert_eq!(issuer.asked(), 1);

    clock.advance(TimeDelta::seconds(1));
    let answers = join_all(tokens.iter().map(|token| ask(&authenticator, token))).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Err(AuthError::InvalidToken))
    );
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_known_from_its_first_token_on() {
    let issuer = Issuer::start(&[RSA.jwk("old")]).await;
    let (authenticator, clock) = issuer.authenticator();
    let (old, new) = (RSA.token(Some("old")), RSA_NEXT.token(Some("new")));
    assert!(ask(&authenticator, &old).await.is_ok());

    issuer.publish(&[RSA.jwk("old"), RSA_NEXT.jwk("new")]);
    clock.advance(TimeDelta::seconds(30));
    assert!(ask(&authenticator, &new).await.is_ok());
    assert!(ask(&authenticator, &old).await.is_ok());
    assert_eq!(issuer.asked(), 2);

    // A key that is known but for another algorithm is no reason to ask.
    clock.advance(TimeDelta::seconds(30));
    assert!(ask(&authenticator, &EC.token(Some("new"))).await.is_err());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_behind_the_request_that_finds_it_old() {
    let issuer = Issuer::start(&[RSA.jwk("old")]).await;
    let (authenticator, clock) = issuer.authenticator();
    let old = RSA.token(Some("old"));
    let claims = claims_with(json!({"exp": NOW + 3600}));
    let header = json!({"alg": "RS256", "kid": "old"});
    let lasting = signed(header, &claims, &RSA.private(), Algorithm::RS256);
    assert!(ask(&authenticator, &old).await.is_ok());

    issuer.publish(&[RSA_NEXT.jwk("new")]);
    clock.advance(TimeDelta::minutes(10));
    assert!(ask(&authenticator, &lasting).await.is_ok());
    settled(&authenticator).await;
    assert_eq!(issuer.asked(), 2);
    assert_eq!(
        refusal(&authenticator, &lasting).await,
        Some(Refusal::UnknownKey)
    );
}

#[tokio::test]
async fn the_known_keys_stay_in_force_while_the_issuer_is_down() {
    let mut issuer = Issuer::start(&[RSA.jwk("k")]).await;
    let (authenticator, clock) = issuer.authenticator();
    let claims = claims_with(json!({"exp": NOW + 24 * 3600}));
    let header = json!({"alg": "RS256", "kid": "k"});
    let lasting = signed(header, &claims, &RSA.private(), Algorithm::RS256);
    let unknown = RSA.token(Some("unknown"));
    assert!(ask(&authenticator, &lasting).await.is_ok());

    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, "{}"),
        (StatusCode::FOUND, "{}"),
        (StatusCode::NOT_FOUND, r#"{"keys":[]}"#),
        (StatusCode::OK, "<html>down for maintenance</html>"),
        (StatusCode::OK, ""),
        (StatusCode::OK, &" ".repeat(65 * 1024)),
    ] {
        issuer.answers(status, body);
        let before = issuer.asked();
        clock.advance(TimeDelta::hours(1));
        assert!(ask(&authenticator, &lasting).await.is_ok(), "{body}");
        settled(&authenticator).await;
        assert_eq!(issuer.asked(), before + 1, "{body}");
        assert!(ask(&authenticator, &unknown).await.is_err());
        assert!(ask(&authenticator, &lasting).await.is_ok(), "{body}");
    }

    issuer.task.shutdown().await;
    clock.advance(TimeDelta::hours(1));
    assert!(ask(&authenticator, &unknown).await.is_err());
    assert!(ask(&authenticator, &lasting).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_was_down_at_first_is_asked_again() {
    let issuer = Issuer::start(&[RSA.jwk("k")]).await;
    let (authenticator, clock) = issuer.authenticator();
    let token = RSA.token(Some("k"));
    issuer.answers(StatusCode::BAD_GATEWAY, "");
    assert!(authenticator.load_keys().await.is_err());
    assert!(ask(&authenticator, &token).await.is_err());
    assert_eq!(issuer.asked(), 1);

    issuer.publish(&[RSA.jwk("k")]);
    clock.advance(TimeDelta::seconds(30));
    assert!(ask(&authenticator, &token).await.is_ok());
}

#[tokio::test]
async fn a_caller_who_hangs_up_takes_no_keys_along() {
    let issuer = Issuer::start(&[RSA.jwk("k")]).await;
    let (authenticator, _) = issuer.authenticator();
    let token = RSA.token(Some("k"));
    assert_eq!(ask(&authenticator, &token).now_or_never(), None);
    settled(&authenticator).await;
    assert!(ask(&authenticator, &token).await.is_ok());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_silence_the_store() {
    let issuer = Issuer::start(&[RSA.jwk("old")]).await;
    let (authenticator, clock) = issuer.authenticator();
    assert!(ask(&authenticator, &RSA.token(Some("old"))).await.is_ok());
    issuer.publish(&[RSA_NEXT.jwk("new")]);
    clock.advance(TimeDelta::hours(-1));
    assert!(
        ask(&authenticator, &RSA_NEXT.token(Some("new")))
            .await
            .is_ok()
    );
}
