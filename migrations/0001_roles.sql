-- Two roles without login. Every connection of the server takes one of them as soon as it is open,
-- so that isolation does not depend on who logged in:
--   discovery_app     tenant work: bound by the tenant policy of each table
--   discovery_system  the few jobs that cross tenants: a policy of its own, on just the tables they need
-- Roles belong to the whole cluster, so another database of the same cluster may have made them already.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['discovery_app', 'discovery_system'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another migration of the same cluster was faster
        END;
        BEGIN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        EXCEPTION
            WHEN insufficient_privilege THEN
                -- Whoever made the role may have granted it already; then all is well.
                IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
                    RAISE;
                END IF;
        END;
    END LOOP;
END
$$;

-- The tenant of the running transaction; NULL outside of one, so that every comparison fails.
-- A custom setting reads as an empty string once the transaction that set it is over.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('app.tenant_id', true), '')::uuid;
COMMENT ON FUNCTION current_tenant() IS 'The tenant of the running transaction, as set by the server; NULL if it set none.';

-- Readiness asks how far the schema is.
DO $$
BEGIN
    IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
        GRANT SELECT ON _sqlx_migrations TO discovery_system;
    END IF;
END
$$;
