#!/bin/sh
# Runs the command it is given. Prefect reads its database's address from the environment alone, so a mounted secret is put there
# first; quantplay's own address is read from its file by quantplay itself (docs/settings.md).
set -eu

file=${PREFECT_SERVER_DATABASE_CONNECTION_URL_FILE:-}
if [ -n "$file" ]; then
    if [ -n "${PREFECT_SERVER_DATABASE_CONNECTION_URL:-}" ]; then
        echo "PREFECT_SERVER_DATABASE_CONNECTION_URL and PREFECT_SERVER_DATABASE_CONNECTION_URL_FILE are both set; unset one" >&2
        exit 2
    fi
    if [ ! -s "$file" ]; then
        echo "the secret $file is missing or empty; infra/compose/README.md says how to make it" >&2
        exit 2
    fi
    PREFECT_SERVER_DATABASE_CONNECTION_URL=$(cat "$file")
    export PREFECT_SERVER_DATABASE_CONNECTION_URL
    unset PREFECT_SERVER_DATABASE_CONNECTION_URL_FILE
fi

exec "$@"
