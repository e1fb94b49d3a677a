//! Which public key may verify what.

use super::{issuer::*, *};

#[tokio::test]
async fn every_public_algorithm_verifies_with_its_own_key() {
    for pair in [RSA, RSA_PSS, EC, ED] {
        let (authenticator, _file) = with_keys(&[pair.jwk("k")]);
        let answer = ask(&authenticator, &pair.token(Some("k"))).await;
        assert!(answer.is_ok(), "{:?}", pair.algorithm);
        let answer = ask(&authenticator, &pair.token(None)).await;
        assert!(answer.is_ok(), "{:?} without a key id", pair.algorithm);
    }
    let (authenticator, _file) = with_keys(&[RSA.jwk("k")]);
    let forged = RSA_NEXT.token(Some("k"));
    assert_eq!(
        refusal(&authenticator, &forged).await,
        Some(Refusal::Signature)
    );
}

#[tokio::test]
async fn a_key_without_an_algorithm_has_the_one_of_its_type() {
    let bare = |pair: Pair| {
        let mut jwk = pair.jwk("k");
        jwk.as_object_mut().expect("an object").remove("alg");
        jwk
    };
    for pair in [RSA, EC, ED] {
        let (authenticator, _file) = with_keys(&[bare(pair)]);
        let answer = ask(&authenticator, &pair.token(Some("k"))).await;
        assert!(answer.is_ok(), "{:?}", pair.algorithm);
    }
    let (authenticator, _file) = with_keys(&[bare(RSA)]);
    let found = refusal(&authenticator, &RSA_PSS.token(Some("k"))).await;
    assert_eq!(found, Some(Refusal::UnknownKey));
}

#[tokio::test]
async fn a_key_verifies_no_algorithm_but_its_own() {
    let keys = [RSA.jwk("rsa"), EC.jwk("ec"), ED.jwk("ed")];
    let (authenticator, _file) = with_keys(&keys);
    for (pair, id) in [
        (RSA_PSS, "rsa"),
        (RSA, "ec"),
        (RSA, "ed"),
        (EC, "rsa"),
        (EC, "ed"),
        (ED, "ec"),
    ] {
        let found = refusal(&authenticator, &pair.token(Some(id))).await;
        assert_eq!(found, Some(Refusal::UnknownKey), "{:?}", pair.algorithm);
    }
    // A signature of one kind under the name of another.
    for (name, pair) in [
        ("RS256", RSA_PSS),
        ("RS256", EC),
        ("PS256", RSA),
        ("ES256", ED),
    ] {
        let header = json!({"alg": name});
        let token = signed(header, &claims(), &pair.private(), pair.algorithm);
        assert!(refusal(&authenticator, &token).await.is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let jwk = RSA.jwk("k");
    let file = key_file(std::slice::from_ref(&jwk));
    let (keys_only, _) = with_file(&file);
    let (both, _) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        jwks: Some(KeySource::File(file.path().to_owned())),
        ..rules()
    });
    let pem = include_str!("keys/rsa-public.pem");
    let modulus = jwk["n"].as_str().expect("a modulus");
    let raw = URL_SAFE_NO_PAD.decode(modulus).expect("base64");
    for secret in [
        pem.as_bytes(),
        pem.trim().as_bytes(),
        modulus.as_bytes(),
        &raw,
        jwk.to_string().as_bytes(),
        b"",
    ] {
        let secret = EncodingKey::from_secret(secret);
        for (name, algorithm) in [
            ("HS256", Algorithm::HS256),
            ("HS384", Algorithm::HS384),
            ("HS512", Algorithm::HS512),
        ] {
            let header = json!({"alg": name, "kid": "k"});
            let token = signed(header, &claims(), &secret, algorithm);
            assert_eq!(refusal(&keys_only, &token).await, Some(Refusal::Algorithm));
            assert_eq!(refusal(&both, &token).await, Some(Refusal::Signature));
        }
    }
    // And each kind still verifies its own beside the other.
    assert_eq!(refusal(&both, &token(&claims())).await, None);
    assert_eq!(refusal(&both, &RSA.token(Some("k"))).await, None);
    // Where there is only a secret, nothing else is even looked for.
    let found = refusal(&with_secret(), &RSA.token(Some("k"))).await;
    assert_eq!(found, Some(Refusal::Algorithm));
}

#[tokio::test]
async fn no_other_algorithm_is_accepted_in_any_spelling() {
    let file = key_file(&[RSA.jwk("k"), EC.jwk("e")]);
    let (authenticator, _) = authenticator(TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        jwks: Some(KeySource::File(file.path().to_owned())),
        ..rules()
    });
    let hmac = EncodingKey::from_secret(SECRET);
    for name in [
        "none", "None", "NONE", "nOnE", "none ", " none", "", "null", "hs256", "HS256 ", "HS1",
        "HS128", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "ES256K", "RS1", "rs256",
        "eddsa", "EDDSA", "Ed448", "A256GCM", "RSA-OAEP", "dir",
    ] {
        let header = json!({"alg": name, "kid": "k"});
        let message = format!("{}.{}", part(&header), part(&claims()));
        for token in [
            format!("{message}."),
            format!("{message}.AA"),
            signed(header.clone(), &claims(), &hmac, Algorithm::HS256),
            signed(header, &claims(), &RSA.private(), Algorithm::RS256),
        ] {
            let found = refusal(&authenticator, &token).await;
            assert_eq!(found, Some(Refusal::Algorithm), "{name:?}");
        }
    }
    // An accepted name with no signature at all.
    for name in ["HS256", "RS256"] {
        let header = json!({"alg": name, "kid": "k"});
        let token = format!("{}.{}.", part(&header), part(&claims()));
        let found = refusal(&authenticator, &token).await;
        assert_eq!(found, Some(Refusal::Signature), "{name}");
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_is_ignored() {
    let stranger = Issuer::start(&[RSA_NEXT.jwk("k")]).await;
    let (authenticator, _file) = with_keys(&[RSA.jwk("k")]);
    let url = stranger.url.as_str();
    for brought in [
        json!({"jwk": RSA_NEXT.jwk("k")}),
        json!({"jku": url}),
        json!({"x5u": url}),
        json!({"x5c": ["MIIB"]}),
        json!({"jwk": "nonsense", "jku": 5}),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "k"});
        for (name, value) in brought.as_object().expect("an object") {
            header[name] = value.clone();
        }
        let forged = signed(
            header.clone(),
            &claims(),
            &RSA_NEXT.private(),
            Algorithm::RS256,
        );
        let found = refusal(&authenticator, &forged).await;
        assert_eq!(found, Some(Refusal::Signature), "{brought}");
        // Nor does it stand in the way of the right key.
        let honest = signed(header, &claims(), &RSA.private(), Algorithm::RS256);
        assert_eq!(refusal(&authenticator, &honest).await, None, "{brought}");
    }
    assert_eq!(stranger.asked(), 0);
}

#[tokio::test]
async fn keys_that_must_not_verify_are_passed_over() {
    let changed = |pair: Pair, name: &str, value: Value| {
        let mut jwk = pair.jwk("k");
        jwk[name] = value;
        jwk
    };
    let operations = |operations: Value| {
        let mut jwk = changed(RSA, "key_ops", operations);
        jwk.as_object_mut().expect("an object").remove("use");
        jwk
    };
    let modulus = |bytes: &[u8]| changed(RSA, "n", json!(URL_SAFE_NO_PAD.encode(bytes)));
    let bits_2047 = [&[0x7f][..], &[0xff; 255]].concat();
    let zero_in_front = [&[0][..], &[0xff; 255]].concat();
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    for (key, usable) in [
        (RSA.jwk("k"), true),
        (operations(json!(["verify"])), true),
        (operations(json!(["sign", "verify"])), true),
        (operations(json!(["sign"])), false),
        (operations(json!([])), false),
        (changed(RSA, "use", json!("enc")), false),
        (changed(RSA, "use", json!("other")), false),
        (changed(RSA, "alg", json!("RS512")), false),
        (changed(RSA, "alg", json!("RSA-OAEP")), false),
        (changed(RSA, "alg", json!("HS256")), false),
        (changed(RSA, "alg", json!("ES256")), false),
        (changed(RSA, "alg", json!("unheard-of")), false),
        (changed(RSA, "n", json!("&&&")), false),
        (changed(RSA, "e", json!("&&&")), false),
        (changed(RSA, "kid", json!(5)), false),
        (modulus(&[0xff; 256]), true),
        (modulus(&bits_2047), false),
        (modulus(&zero_in_front), false),
        (modulus(&[0xff; 128]), false),
        (modulus(&[]), false),
        (EC.jwk("k"), true),
        (changed(EC, "crv", json!("P-384")), false),
        (changed(EC, "crv", json!("secp256k1")), false),
        (changed(EC, "alg", json!("HS256")), false),
        (ED.jwk("k"), true),
        (changed(ED, "crv", json!("X25519")), false),
        (changed(ED, "alg", json!("ES256")), false),
        (json!({"kty": "oct", "kid": "k", "k": secret}), false),
        (
            json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": secret}),
            false,
        ),
        (json!({"kty": "unheard-of", "kid": "k"}), false),
        (json!({}), false),
        (json!(null), false),
        (json!("text"), false),
    ] {
        // Beside a good one, which none of them spoils.
        let (authenticator, _file) = with_keys(&[key.clone(), ED.jwk("good")]);
        let loaded = authenticator.load_keys().await.expect("a key set");
        assert_eq!(loaded, 1 + usize::from(usable), "{key}");
        assert_eq!(refusal(&authenticator, &ED.token(Some("good"))).await, None);
    }
    // The secret of a published `oct` key verifies nothing.
    let (authenticator, _file) = with_keys(&[json!({"kty": "oct", "kid": "k", "k": secret})]);
    let found = refusal(&authenticator, &token(&claims())).await;
    assert_eq!(found, Some(Refusal::Algorithm));
}

#[tokio::test]
async fn a_token_without_a_key_id_is_tried_against_ten_keys() {
    for (others, expected) in [(9, None), (10, Some(Refusal::Signature))] {
        let mut keys = vec![RSA_NEXT.jwk("other"); others];
        // Keys of another algorithm take no place among them.
        keys.splice(0..0, vec![EC.jwk("ec"); 20]);
        keys.push(RSA.jwk("k"));
        let (authenticator, _file) = with_keys(&keys);
        assert_eq!(refusal(&authenticator, &RSA.token(None)).await, expected);
        assert_eq!(refusal(&authenticator, &RSA.token(Some("k"))).await, None);
    }
}
