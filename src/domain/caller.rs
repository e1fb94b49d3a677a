//! Who is asking, and what they may do.

use super::ids::TenantId;

/// A right that a token can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// `discovery:read`
    Read,
    /// `discovery:write`
    Write,
}

impl Scope {
    /// The name in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "discovery:read",
            Self::Write => "discovery:write",
        }
    }
}

/// The scopes a caller holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scopes {
    /// May read.
    pub read: bool,
    /// May change.
    pub write: bool,
}

impl Scopes {
    /// Both rights.
    pub const ALL: Self = Self {
        read: true,
        write: true,
    };

    /// Whether `scope` is held.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        match scope {
            Scope::Read => self.read,
            Scope::Write => self.write,
        }
    }
}

/// An authenticated caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The tenant, from the token and from nowhere else.
    pub tenant: TenantId,
    /// The token's `sub`, for the audit log; empty when the token has none.
    pub subject: String,
    /// What the token allows.
    pub scopes: Scopes,
}
