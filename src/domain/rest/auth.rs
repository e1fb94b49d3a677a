//! What may be declared as proof.

use super::RestAuth;
use crate::domain::secret::SecretText;

/// The longest secret, in bytes; servers take little more in a header.
const MAX_SECRET_LENGTH: usize = 4096;

/// The longest name of a header, in bytes.
const MAX_HEADER_LENGTH: usize = 100;

/// Headers that say how a message is sent, to whom, or in which form; none of them proves anything.
const RESERVED: [&str; 21] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Why a proof was not accepted, in words for the caller. Free of what was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthFault {
    /// No kind of proof.
    #[error("must be none, bearer, basic or header")]
    Kind,
    /// Nothing, or too much.
    #[error("must be 1 to {MAX_SECRET_LENGTH} bytes long")]
    Length,
    /// What no header may hold.
    #[error("must hold only printable ASCII, without a space at either end")]
    Character,
    /// What no bearer token holds.
    #[error("must be a token of printable ASCII without spaces; leave out the word Bearer")]
    Token,
    /// A user that would end at its colon.
    #[error("must hold neither a colon nor control characters")]
    User,
    /// A password that could not be sent.
    #[error("must not hold control characters")]
    Password,
    /// No name of a header.
    #[error(
        "must be the name of a header: 1 to {MAX_HEADER_LENGTH} letters, digits and any of !#$%&'*+-.^_`|~"
    )]
    HeaderName,
    /// A header with another purpose.
    #[error("must be a header that proves who asks; this one says how a message is sent")]
    Reserved,
}

impl RestAuth {
    /// A bearer token.
    pub fn bearer(token: SecretText) -> Result<Self, AuthFault> {
        length(&token, 1)?;
        if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AuthFault::Token);
        }
        Ok(Self::Bearer(token))
    }

    /// A user.
    pub fn basic_user(user: SecretText) -> Result<SecretText, AuthFault> {
        length(&user, 1)?;
        if user.expose().contains(|c: char| c == ':' || c.is_control()) {
            return Err(AuthFault::User);
        }
        Ok(user)
    }

    /// A password, which may be empty.
    pub fn basic_password(password: SecretText) -> Result<SecretText, AuthFault> {
        length(&password, 0)?;
        if password.expose().contains(char::is_control) {
            return Err(AuthFault::Password);
        }
        Ok(password)
    }

    /// The name of a header.
    pub fn header_name(text: &str) -> Result<String, AuthFault> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=MAX_HEADER_LENGTH).contains(&text.len()) || !text.bytes().all(token) {
            return Err(AuthFault::HeaderName);
        }
        let name = text.to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) || name.starts_with("proxy-") {
            return Err(AuthFault::Reserved);
        }
        Ok(name)
    }

    /// The value of a header.
    pub fn header_value(value: SecretText) -> Result<SecretText, AuthFault> {
        length(&value, 1)?;
        let text = value.expose();
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || text.starts_with(' ') || text.ends_with(' ') {
            return Err(AuthFault::Character);
        }
        Ok(value)
    }

    /// What kind of proof it is, as callers see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer(_) => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
        }
    }

    /// What of it is sealed, as the pair that a credential is: who, and the secret.
    #[must_use]
    pub fn pair(&self) -> (&str, &str) {
        match self {
            Self::None => ("", ""),
            Self::Bearer(token) => ("", token.expose()),
            Self::Basic { user, password } => (user.expose(), password.expose()),
            Self::Header { name, value } => (name, value.expose()),
        }
    }

    /// Takes back a proof that was checked before it was stored.
    pub fn from_stored(kind: &str, who: &str, secret: &str) -> Result<Self, AuthFault> {
        let text = |text: &str| SecretText::new(text.to_owned());
        match kind {
            "none" => Ok(Self::None),
            "bearer" => Ok(Self::Bearer(text(secret))),
            "basic" => Ok(Self::Basic {
                user: text(who),
                password: text(secret),
            }),
            "header" => Ok(Self::Header {
                name: who.to_owned(),
                value: text(secret),
            }),
            _ => Err(AuthFault::Kind),
        }
    }
}

fn length(secret: &SecretText, least: usize) -> Result<(), AuthFault> {
    (least..=MAX_SECRET_LENGTH)
        .contains(&secret.expose().len())
        .then_some(())
        .ok_or(AuthFault::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[test]
    fn a_header_of_its_own_is_any_but_those_that_steer_the_message() {
        for (text, name) in [
            ("X-Api-Key", "x-api-key"),
            ("authorization", "authorization"),
            ("apikey!", "apikey!"),
        ] {
            assert_eq!(RestAuth::header_name(text).as_deref(), Ok(name));
        }
        for text in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "cookie",
            "Proxy-Authorization",
            "te",
            "upgrade",
        ] {
            let refused = RestAuth::header_name(text);
            assert_eq!(refused, Err(AuthFault::Reserved), "{text}");
        }
        let long = "a".repeat(MAX_HEADER_LENGTH + 1);
        for text in ["", "a b", "a:", "é", "a\r\nb", ":authority", &long] {
            let refused = RestAuth::header_name(text);
            assert_eq!(refused, Err(AuthFault::HeaderName), "{text:?}");
        }
    }

    #[test]
    fn a_secret_can_be_sent_as_it_is() {
        assert!(RestAuth::bearer(secret("abc.DEF-123_~+/=")).is_ok());
        for text in ["a b", "Bearer x", "é", "a\n"] {
            let refused = RestAuth::bearer(secret(text)).unwrap_err();
            assert_eq!(refused, AuthFault::Token, "{text:?}");
        }
        assert!(RestAuth::header_value(secret("Token a b")).is_ok());
        for text in [" a", "a ", "a\r\nHost: b", "é", "\t"] {
            let refused = RestAuth::header_value(secret(text)).unwrap_err();
            assert_eq!(refused, AuthFault::Character, "{text:?}");
        }
        assert!(RestAuth::basic_user(secret("José")).is_ok());
        assert!(RestAuth::basic_password(secret("pá:ss")).is_ok());
        assert!(RestAuth::basic_password(secret("")).is_ok());
        for text in ["a:b", "a\0"] {
            let refused = RestAuth::basic_user(secret(text)).unwrap_err();
            assert_eq!(refused, AuthFault::User, "{text:?}");
        }
        let refused = RestAuth::basic_password(secret("a\n")).unwrap_err();
        assert_eq!(refused, AuthFault::Password);
    }

    #[test]
    fn a_secret_is_neither_empty_nor_endless() {
        let endless = "a".repeat(MAX_SECRET_LENGTH + 1);
        for text in ["", &endless] {
            let length = Err(AuthFault::Length);
            assert_eq!(RestAuth::bearer(secret(text)).map(drop), length);
            assert_eq!(RestAuth::basic_user(secret(text)).map(drop), length);
            assert_eq!(RestAuth::header_value(secret(text)).map(drop), length);
        }
        let refused = RestAuth::basic_password(secret(&endless)).map(drop);
        assert_eq!(refused, Err(AuthFault::Length));
    }

    #[test]
    fn debug_shows_no_secret() {
        let canary = "canary-5d1f";
        let proofs = [
            RestAuth::bearer(secret(canary)).unwrap(),
            RestAuth::Basic {
                user: secret(canary),
                password: secret(canary),
            },
            RestAuth::Header {
                name: "x-api-key".to_owned(),
                value: secret(canary),
            },
        ];
        for proof in proofs {
            assert!(!format!("{proof:?}").contains(canary), "{}", proof.kind());
        }
    }

    #[test]
    fn a_proof_is_the_same_after_it_was_stored() {
        let proofs = [
            RestAuth::None,
            RestAuth::Bearer(secret("token")),
            RestAuth::Basic {
                user: secret("user"),
                password: secret("password"),
            },
            RestAuth::Header {
                name: "x-api-key".to_owned(),
                value: secret("key"),
            },
        ];
        for proof in proofs {
            let (who, secret) = proof.pair();
            let back = RestAuth::from_stored(proof.kind(), who, secret).unwrap();
            assert_eq!((back.kind(), back.pair()), (proof.kind(), proof.pair()));
        }
        let unknown = RestAuth::from_stored("digest", "", "").unwrap_err();
        assert_eq!(unknown, AuthFault::Kind);
    }
}
