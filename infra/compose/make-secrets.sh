#!/bin/sh
# Makes every secret that docker-compose.yml reads, in the folder given (infra/compose/secrets by default). What is there stays.
set -eu

folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder" # the folder keeps others out; the files are readable because containers run as users of their own

random() { # bytes; in hexadecimal, so that it can stand in a URL
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

make() { # name; content on standard input
    if [ -e "$folder/$1" ]; then
        cat >/dev/null
        echo "kept $1"
        return
    fi
    cat >"$folder/.$1.new"
    chmod 444 "$folder/.$1.new"
    mv "$folder/.$1.new" "$folder/$1"
    echo "made $1"
}

random 24 | make postgres_password
for role in quantplay prefect quantplay_reader; do
    random 24 | make "${role}_db_password"
done
printf 'postgresql://quantplay:%s@postgres:5432/quantplay' "$(cat "$folder/quantplay_db_password")" | make quantplay_database_url
printf 'postgresql+asyncpg://prefect:%s@postgres:5432/prefect' "$(cat "$folder/prefect_db_password")" | make prefect_database_url
printf '[quantplay]\nhost=postgres\ndbname=quantplay\nuser=quantplay\npassword=%s\n' "$(cat "$folder/quantplay_db_password")" | make quantplay_pg_service
random 24 | make grafana_admin_password
random 24 | make gateway_metrics_key # what Prometheus shows to gateways; its digest goes into their file of keys
printf 'quantplay:%s' "$(random 24)" | make prefect_auth # what the server's pages ask for, and its clients send

access=$(random 10)
secret=$(random 24)
if [ ! -e "$folder/s3_identities" ] && [ ! -e "$folder/aws_credentials" ]; then
    make s3_identities <<JSON
{"identities": [{"name": "quantplay", "credentials": [{"accessKey": "$access", "secretKey": "$secret"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" | make aws_credentials
else
    echo "kept s3_identities and aws_credentials"
fi
printf '# Who hears of rollbacks: addresses as docs/release.md shows; they hold passwords.\non_call: []\nproduct_owner: []\n' | make notices
printf '# pip.conf of the image builds: indexes, and how to log in there\n' | make pip
