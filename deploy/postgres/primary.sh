#!/bin/sh
# Runs once, when the primary's data directory is made: the database of Mirante and the account of the standby.
# schema-checked only
set -eu
psql --username "$POSTGRES_USER" --set password="$(cat /run/secrets/postgres_password)" <<'SQL'
create role replicator login replication password :'password';
SQL
echo "host replication replicator samenet scram-sha-256" >> "$PGDATA/pg_hba.conf"
