//! The proof, at every start, that one tenant can't see another.
//!
//! A wrong grant, a role that bypasses policies or a table without one would not make anything fail
//! by itself, so the server tries it out before it serves.

use super::{StorageError, Store, SystemTx, TenantTx};
use crate::domain::ids::TenantId;

/// Why the server refuses to serve.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The proof could not be run.
    #[error("the database could not be asked whether it keeps tenants apart")]
    Unproven(#[from] StorageError),
    /// The proof failed.
    #[error(
        "the database does not keep tenants apart: {0}. Nothing was served. Compare its roles, \
         grants and policies with the migrations"
    )]
    Broken(String),
}

fn broken(what: impl Into<String>) -> IsolationError {
    IsolationError::Broken(what.into())
}

impl Store {
    /// Tries whether tenants are kept apart, with rows that are never committed.
    pub async fn prove_isolation(
        &self,
        one: TenantId,
        other: TenantId,
    ) -> Result<(), IsolationError> {
        let mut tx = self.begin(one).await?;
        tx.prove_role().await?;
        tx.prove_tables().await?;
        tx.plant_probe(one).await?;
        if tx.count_probes(one).await? != 1 {
            return Err(broken("a tenant does not see a row of its own"));
        }
        for (whose, text) in [
            ("no tenant", String::new()),
            ("another tenant", other.to_string()),
        ] {
            tx.pose_as(&text).await?;
            if tx.count_probes(one).await? != 0 {
                return Err(broken(format!(
                    "a transaction of {whose} sees a tenant's row"
                )));
            }
        }
        drop(tx);
        let mut tx = self.begin(other).await?;
        match tx.plant_probe(one).await {
            Ok(()) => return Err(broken("a transaction writes a row of another tenant")),
            Err(error) if error.is_forbidden() => {}
            Err(error) => return Err(error.into()),
        }
        drop(tx);
        self.begin_system().await?.prove_role().await
    }
}

impl TenantTx {
    async fn prove_role(&mut self) -> Result<(), IsolationError> {
        let role = sqlx::query!(
            r#"SELECT current_user::text AS "name!",
                      rolsuper OR rolbypassrls OR rolcanlogin AS "mighty!"
               FROM pg_roles WHERE rolname = current_user"#
        )
        .fetch_one(&mut *self.tx)
        .await
        .map_err(StorageError::from)?;
        if role.name != super::APP_ROLE {
            return Err(broken(format!("tenant work runs as \"{}\"", role.name)));
        }
        if role.mighty {
            return Err(broken(format!(
                "the role \"{}\" may log in or bypass policies",
                role.name
            )));
        }
        Ok(())
    }

    async fn prove_tables(&mut self) -> Result<(), IsolationError> {
        let open = sqlx::query_scalar!(
            r#"SELECT c.relname::text AS "name!"
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
                 AND a.attname = 'tenant_id'
                 AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                     AND (SELECT count(*) = 1 AND bool_and(
                              coalesce(pg_get_expr(p.polqual, c.oid), '') = '(tenant_id = current_tenant())'
                              AND coalesce(pg_get_expr(p.polwithcheck, c.oid), '') = '(tenant_id = current_tenant())')
                          FROM pg_policy p WHERE p.polrelid = c.oid
                            AND (0 = ANY (p.polroles) OR current_user::text::regrole = ANY (p.polroles))))
               ORDER BY c.relname"#
        )
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StorageError::from)?;
        if open.is_empty() {
            Ok(())
        } else {
            Err(broken(format!(
                "row level security is not forced, or not by the tenant's policy alone, on {}",
                open.join(", ")
            )))
        }
    }

    async fn pose_as(&mut self, tenant: &str) -> Result<(), StorageError> {
        sqlx::query!("SELECT set_config('app.tenant_id', $1, true)", tenant)
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn plant_probe(&mut self, tenant: TenantId) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO tenant_keys (tenant_id, ring_key_id, wrapped_key, created_at, wrapped_at)
             VALUES ($1, 'probe', '', now(), now())",
            tenant.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn count_probes(&mut self, tenant: TenantId) -> Result<i64, StorageError> {
        // The key alone would find the row: only the policy can hide it from another tenant.
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM tenant_keys WHERE tenant_id = $1"#,
            tenant.0
        )
        .fetch_one(&mut *self.tx)
        .await?)
    }
}

impl SystemTx {
    async fn prove_role(&mut self) -> Result<(), IsolationError> {
        let role = sqlx::query!(
            r#"SELECT current_user::text AS "name!", rolsuper OR rolbypassrls AS "mighty!"
               FROM pg_roles WHERE rolname = current_user"#
        )
        .fetch_one(&mut *self.tx)
        .await
        .map_err(StorageError::from)?;
        if role.name != super::SYSTEM_ROLE || role.mighty {
            return Err(broken(format!(
                "work that crosses tenants runs as \"{}\"{}",
                role.name,
                if role.mighty {
                    ", which bypasses policies"
                } else {
                    ""
                }
            )));
        }
        Ok(())
    }
}
