#!/bin/sh
# Run once by the postgres image, as superuser, when the data folder is empty: a role with its own database for each service.
set -eu

create() { # role (its database has the same name), password
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set role="$1" --set password="$2" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
SQL
}

create quantplay "$QUANTPLAY_DB_PASSWORD"
create prefect "$PREFECT_DB_PASSWORD"
