#!/usr/bin/env bash
# Runs once, when the database container starts on an empty volume: makes the database and the role that owns it.
#
# The role is no superuser, so that row level security binds it. CREATEROLE lets the first migration make the two
# roles without login that every connection of the server takes.
set -euo pipefail

password=$(</run/secrets/database_password)

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set password="$password" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE discovery LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD :'password';
CREATE DATABASE discovery OWNER discovery;
REVOKE ALL ON DATABASE discovery FROM PUBLIC;
SQL
