use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::*;
use crate::domain::random::OsRandom;

/// The key that tests give to a name: fixed, and as good as random.
pub(in crate::vault) fn key_bytes(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

/// The entry of that key.
pub(in crate::vault) fn entry(name: &str) -> String {
    format!("{name}:{}", BASE64_STANDARD.encode(key_bytes(name)))
}

/// A ring of such keys.
pub(in crate::vault) fn ring(names: &[&str]) -> KeyRing {
    let entries: Vec<String> = names.iter().map(|name| entry(name)).collect();
    KeyRing::parse(&entries.join(",")).unwrap()
}

/// An entry of the given key bytes.
fn entry_of(id: &str, key: &[u8]) -> String {
    format!("{id}:{}", BASE64_STANDARD.encode(key))
}

fn refusal(text: &str) -> String {
    KeyRing::parse(text).unwrap_err().to_string()
}

fn ids(ring: &KeyRing) -> Vec<&str> {
    ring.ids().collect()
}

#[test]
fn the_first_entry_seals_and_all_are_found() {
    let ring = ring(&["new", "old", "older"]);
    assert_eq!(ring.primary(), "new");
    assert_eq!(ids(&ring), ["new", "old", "older"]);
    for name in ["new", "old", "older"] {
        assert_eq!(ring.find(name).unwrap().bytes(), &key_bytes(name));
    }
    assert!(ring.find("other").is_none());
    assert!(ring.find("").is_none());
}

#[test]
fn commas_white_space_and_lines_separate() {
    let (a, b, c) = (entry("a"), entry("b"), entry("c"));
    for text in [
        format!("{a},{b},{c}"),
        format!("{a} {b} {c}"),
        format!("{a}\n{b}\n{c}\n"),
        format!("\r\n{a}\r\n{b}\r\n\r\n{c}\r\n"),
        format!("\t{a} ,\n, {b},,{c},"),
    ] {
        assert_eq!(ids(&KeyRing::parse(&text).unwrap()), ["a", "b", "c"]);
    }
}

#[test]
fn a_comment_ends_with_its_line() {
    let text = format!(
        "# the ring, b:x, nothing here counts\n  # nor here\n{} # since spring\n#{}\n{}",
        entry("a"),
        entry("b"),
        entry("c"),
    );
    assert_eq!(ids(&KeyRing::parse(&text).unwrap()), ["a", "c"]);
}

#[test]
fn the_padding_of_base64_may_be_missing() {
    let ring = KeyRing::parse(entry("a").trim_end_matches('=')).unwrap();
    assert_eq!(ring.find("a").unwrap().bytes(), &key_bytes("a"));
}

#[test]
fn ids_have_1_to_32_characters_of_a_small_alphabet() {
    let longest = "x".repeat(32);
    for id in ["a", "2026-11.k_1", "Z9", longest.as_str()] {
        let ring = KeyRing::parse(&entry_of(id, &key_bytes("a"))).unwrap();
        assert_eq!(ring.primary(), id);
    }
    let too_long = "x".repeat(33);
    for id in ["", "a/b", "a b", "ä", "a:b", too_long.as_str(), "a\0", "a+"] {
        assert!(!is_key_id(id), "{id}");
    }
}

#[test]
fn an_empty_ring_is_refused() {
    for text in ["", " \n,\t,\n", "# only a comment"] {
        assert_eq!(
            refusal(text),
            "the key ring is refused: it lists no key: give at least one `id:base64 of 32 bytes`, \
             as `keys generate` prints it"
        );
    }
}

#[test]
fn an_entry_without_separator_is_refused() {
    let (_, key) = entry("a")
        .split_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(
        refusal(&key),
        "the key ring is refused: entry 1 has no `:`: an entry is `id:base64 of 32 bytes`, without \
         spaces"
    );
}

#[test]
fn a_bad_id_is_refused() {
    let too_long = "x".repeat(33);
    for id in ["", "a/b", "ä", "a+", "\u{feff}a", too_long.as_str()] {
        assert_eq!(
            refusal(&entry_of(id, &key_bytes("a"))),
            "the key ring is refused: entry 1 has an unusable id: take 1 to 32 of the characters \
             A-Z a-z 0-9 _ . -",
            "{id}"
        );
    }
}

#[test]
fn a_key_that_is_not_base64_is_refused() {
    let good = entry("a");
    // Foreign characters, URL-safe ones, inner padding, and bits that no encoder sets.
    for bad in [
        format!("{}*", &good[..good.len() - 1]),
        "a:____________________________________________".to_owned(),
        good.replacen("a:", "a:=", 1),
        format!("{good}:x"),
        format!("{}B=", &entry_of("a", &[0; 32])[..44]),
    ] {
        assert_eq!(
            refusal(&bad),
            "the key ring is refused: entry 1 has a key that is not standard base64: make one with \
             `keys generate`",
            "{bad}"
        );
    }
}

#[test]
fn a_key_of_another_length_is_refused() {
    let long: Vec<u8> = (0..2).flat_map(|_| key_bytes("a")).collect();
    for length in [0, 1, 16, 31, 33, 64] {
        assert_eq!(
            refusal(&entry_of("a", &long[..length])),
            format!(
                "the key ring is refused: entry 1 has a key of {length} bytes instead of 32: make \
                 one with `keys generate`"
            )
        );
    }
}

#[test]
fn a_weak_key_is_refused() {
    let mut counting = [0; 32];
    for (byte, value) in counting.iter_mut().zip((0..=u8::MAX).rev()) {
        *byte = value;
    }
    let mut padded = key_bytes("a");
    padded[16..].fill(0);
    let few = key_bytes("a").map(|byte| byte % 15);
    for (key, reason) in [
        ([0; 32], "its bytes are all equal or count up or down"),
        (counting, "its bytes are all equal or count up or down"),
        (
            *b"0123456789abcdeF0123456789abcdeF",
            "it repeats a shorter block",
        ),
        (padded, "it is filled up with one byte value"),
        (*b"correct horse battery staple, 42", "it is readable text"),
        (few, "it uses fewer than 16 different byte values"),
    ] {
        assert_eq!(
            refusal(&entry_of("k1", &key)),
            format!(
                "the key ring is refused: entry 1 (`k1`) has a weak key, {reason}: make a random \
                 one with `keys generate`"
            )
        );
    }
}

#[test]
fn a_second_key_of_one_name_is_refused() {
    let text = [entry("a"), entry("b"), entry_of("a", &key_bytes("c"))].join(",");
    assert_eq!(
        refusal(&text),
        "the key ring is refused: entry 3 (`a`) has the same id as entry 1 (`a`): give each key an \
         id of its own"
    );
}

#[test]
fn a_second_name_of_one_key_is_refused_however_it_is_written() {
    let unpadded = entry_of("c", &key_bytes("b"));
    let text = [&entry("a"), &entry("b"), unpadded.trim_end_matches('=')].join(",");
    assert_eq!(
        refusal(&text),
        "the key ring is refused: entry 3 (`c`) has the same key as entry 2 (`b`): list each key \
         once"
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_entries() {
    let text = [
        entry("a"),
        "lonely".to_owned(),
        "b/c:?".to_owned(),
        "b:AAAA".to_owned(),
        entry("a"),
        entry_of("z", &[7; 32]),
    ]
    .join("\n");
    let error = KeyRing::parse(&text).unwrap_err();
    let faults: Vec<String> = error.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "entry 2 has no `:`: an entry is `id:base64 of 32 bytes`, without spaces",
            "entry 3 has an unusable id: take 1 to 32 of the characters A-Z a-z 0-9 _ . -",
            "entry 3 has a key that is not standard base64: make one with `keys generate`",
            "entry 4 has a key of 3 bytes instead of 32: make one with `keys generate`",
            "entry 5 (`a`) has the same id as entry 1 (`a`): give each key an id of its own",
            "entry 5 (`a`) has the same key as entry 1 (`a`): list each key once",
            "entry 6 (`z`) has a weak key, its bytes are all equal or count up or down: make a \
             random one with `keys generate`",
        ]
    );
    assert_eq!(
        error.to_string(),
        format!("the key ring is refused: {}", faults.join("; "))
    );
}

#[test]
fn a_refusal_shows_no_text_of_a_key_even_where_key_and_id_are_swapped() {
    let key = BASE64_STANDARD.encode(key_bytes("a"));
    let hexadecimal = "9f86d081884c7d659a2feaa0c55ad015";
    for (text, secret) in [
        (key.clone(), key.as_str()),
        (format!("{key}:a"), &key),
        (format!("a: {key}"), &key),
        (format!("a={key}"), &key),
        (format!("a:{key}{key}"), &key),
        (format!("a:{key},b:{key}"), &key),
        (format!("a:{key}*"), &key),
        (format!("{hexadecimal}:a"), hexadecimal),
        (
            format!("{hexadecimal}:AAAA,{hexadecimal}:AAAA"),
            hexadecimal,
        ),
        (format!("a:{hexadecimal}"), hexadecimal),
        (hexadecimal.to_owned(), hexadecimal),
    ] {
        let error = KeyRing::parse(&text).unwrap_err();
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains(&secret[..8]), "{text}: {shown}");
    }
}

#[test]
fn a_generated_entry_is_accepted_and_fresh() {
    let one = KeyRing::generate_entry("2026-11", &OsRandom).unwrap();
    let other = KeyRing::generate_entry("2026-12", &OsRandom).unwrap();
    let ring = KeyRing::parse(&format!("{}\n{}\n", *one, *other)).unwrap();
    assert_eq!(ids(&ring), ["2026-11", "2026-12"]);
}

#[test]
fn no_entry_is_generated_for_a_bad_id() {
    assert_eq!(
        UnusableKeyId.to_string(),
        "a key's id has 1 to 32 of the characters A-Z a-z 0-9 _ . -"
    );
    for id in ["", "a b", "a:b", "a#b"] {
        assert_eq!(
            KeyRing::generate_entry(id, &OsRandom).unwrap_err(),
            UnusableKeyId
        );
    }
}

#[test]
fn debug_shows_the_ids_only() {
    let ring = ring(&["new", "old"]);
    assert_eq!(format!("{ring:?}"), r#"KeyRing ["new", "old"]"#);
}
