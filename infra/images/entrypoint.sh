#!/bin/sh
# Runs the command it is given. Prefect reads its secrets from the environment alone, so those that are mounted are put there first;
# quantplay's own are read from their files by quantplay itself (docs/settings.md).
set -eu

for name in PREFECT_SERVER_DATABASE_CONNECTION_URL PREFECT_SERVER_API_AUTH_STRING PREFECT_API_AUTH_STRING; do
    eval "file=\${${name}_FILE:-} value=\${$name:-}"
    [ -n "$file" ] || continue
    if [ -n "$value" ]; then
        echo "$name and ${name}_FILE are both set; unset one" >&2
        exit 2
    fi
    if [ ! -s "$file" ]; then
        echo "the secret $file is missing or empty; infra/compose/README.md says how to make it" >&2
        exit 2
    fi
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FILE"
done

exec "$@"
