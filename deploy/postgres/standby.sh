#!/bin/sh
# Begins as a copy of the primary, and follows it.
# schema-checked only
set -eu
export PGPASSWORD="$(cat /run/secrets/postgres_password)"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  until pg_basebackup --pgdata="$PGDATA" --write-recovery-conf --wal-method=stream --checkpoint=fast \
    --dbname="host=postgres user=replicator application_name=standby"; do
    echo "the primary is not there yet"
    rm -rf "${PGDATA:?}"/*
    sleep 2
  done
  chmod 700 "$PGDATA"
fi
exec postgres "$@"
