#!/bin/sh
# Run once by the postgres image, as superuser, when the data folder is empty: a role with its own database for each service.
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
