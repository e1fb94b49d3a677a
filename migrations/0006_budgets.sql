-- The vendors' rate limits, shared by every process behind one address.
CREATE TABLE budgets (
    egress_group text        NOT NULL,
    bucket       text        NOT NULL,
    busy_until   timestamptz NOT NULL,
    CONSTRAINT budgets_pkey PRIMARY KEY (egress_group, bucket)
);
COMMENT ON TABLE budgets IS 'One row for each limit of a vendor and each group of processes that it counts as one caller. Belongs to no tenant: the limits are shared by all.';
COMMENT ON COLUMN budgets.egress_group IS 'The processes that reach the vendors from one address, by the name the configuration gives them.';
COMMENT ON COLUMN budgets.bucket IS 'The limit: a vendor, and a group of its endpoints.';
COMMENT ON COLUMN budgets.busy_until IS 'When every call granted so far would be over if they had come one after the other at the sustained rate.';

-- Not for the role of tenant work: no tenant may spend what the others need.
GRANT SELECT, INSERT, UPDATE (busy_until) ON budgets TO discovery_system;
