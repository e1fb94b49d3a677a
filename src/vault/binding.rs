//! The place a sealed value belongs to; it opens nowhere else.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::fields;
use crate::domain::ids::TenantId;

/// First field of everything that is authenticated here, so that no other program's, and no other
/// format's, can be mistaken for it.
const FORMAT: &[u8] = b"matcher-discovery/vault/1";

/// Names the one cell of the database that a sealed value belongs to.
///
/// The name is authenticated with the value: copied to another row, column, table or tenant, it no
/// longer opens. So a row's id is made before its secrets are sealed, and never changes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Binding {
    /// Whose the row is.
    pub tenant: TenantId,
    /// The table.
    pub table: &'static str,
    /// The row's id.
    pub row: Uuid,
    /// The column.
    pub column: &'static str,
}

impl Binding {
    /// What is authenticated along with a sealed value.
    pub(super) fn context(&self) -> Vec<u8> {
        fields::encode(&[
            FORMAT,
            b"sealed value",
            self.tenant.0.as_bytes(),
            self.table.as_bytes(),
            self.row.as_bytes(),
            self.column.as_bytes(),
        ])
    }
}

/// Stands for a row whose key has several parts: a UUID of their hash.
#[must_use]
pub fn stored_row(parts: &[&[u8]]) -> Uuid {
    let digest = Sha256::digest(fields::encode(parts));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What is authenticated along with a tenant's wrapped data key.
pub(super) fn wrap_context(tenant: TenantId, ring_key_id: &str) -> Vec<u8> {
    fields::encode(&[
        FORMAT,
        b"data key",
        tenant.0.as_bytes(),
        ring_key_id.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding = Binding {
        tenant: TenantId(Uuid::from_u128(1)),
        table: "connections",
        row: Uuid::from_u128(2),
        column: "credential",
    };

    #[test]
    fn every_part_of_a_binding_is_in_its_context() {
        let others = [
            Binding {
                tenant: TenantId(Uuid::from_u128(3)),
                ..BINDING
            },
            Binding {
                table: "connection",
                ..BINDING
            },
            Binding {
                row: Uuid::from_u128(3),
                ..BINDING
            },
            Binding {
                column: "scredential",
                ..BINDING
            },
        ];
        for other in others {
            assert_ne!(other.context(), BINDING.context(), "{other:?}");
        }
    }

    #[test]
    fn letters_cannot_move_from_table_to_column() {
        let moved = Binding {
            table: "connection",
            column: "scredential",
            ..BINDING
        };
        assert_ne!(moved.context(), BINDING.context());
    }

    #[test]
    fn tenant_and_ring_key_are_in_the_context_of_a_wrap() {
        let context = wrap_context(BINDING.tenant, "a");
        assert_ne!(context, wrap_context(TenantId(Uuid::from_u128(2)), "a"));
        assert_ne!(context, wrap_context(BINDING.tenant, "b"));
    }
}
