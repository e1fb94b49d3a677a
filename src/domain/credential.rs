//! What a vendor accepts as proof of who we are. In the clear only here, in the vault and in the
//! vendor client that is using it.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A vendor's API credential in the clear.
///
/// It has no `Serialize`, shows nothing in `Debug`, and is wiped when dropped.
#[derive(Clone, Eq, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct Credential {
    client_id: String,
    secret: String,
}

impl Credential {
    /// Takes the pair as the operator gave it.
    #[must_use]
    pub fn new(client_id: String, secret: String) -> Self {
        Self { client_id, secret }
    }

    /// The public half: Pluggy's client id, Belvo's secret id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The secret half.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}
