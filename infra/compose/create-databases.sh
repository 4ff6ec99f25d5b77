#!/bin/sh
# Run once by the postgres image, as superuser, when the data folder is empty: a role with its own database for each service,
# and one that only reads, for dashboards (what it may read: infra/grafana/reader.sql).
set -eu

create() { # role; its database has the same name, its password is the secret ROLE_db_password
    # psql reads the file itself: a password given as an argument would be visible in the list of processes.
    psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --set role="$1" <<'SQL'
\set password `cat /run/secrets/:role\_db_password`
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role" ENCODING 'UTF8' TEMPLATE template0;
SQL
}

create quantplay
create prefect

psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set password `cat /run/secrets/quantplay_reader_db_password`
CREATE ROLE quantplay_reader LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
ALTER ROLE quantplay_reader SET default_transaction_read_only = on;
ALTER ROLE quantplay_reader SET statement_timeout = '15s';
REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;
SQL
