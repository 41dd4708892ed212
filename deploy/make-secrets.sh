#!/bin/sh
# Makes the secrets that compose.ha.yml and stack.yml read, each a random one in a file of its own:
#   deploy/make-secrets.sh [directory]
# Files that are there stay as they are. Back up `encryption_key`: without it the logins of all numbers are lost.
# exercised: test/chaos/g9-services.ts (by test/support/topology)
set -eu
directory="${1:-$(dirname "$0")/secrets}"
mkdir -p "$directory"
# Who may enter it may read them; containers get single files, as users of their own.
chmod 700 "$directory"

random() { openssl rand -hex 32; }
# make NAME TEXT
make() {
  [ -e "$directory/$1" ] && return
  printf '%s' "$2" > "$directory/$1"
  chmod 644 "$directory/$1"
}

make encryption_key "$(openssl rand -base64 32)"
make bootstrap_api_key "$(random)"
make postgres_password "$(random)"
make redis_password "$(random)"
make rabbitmq_password "$(random)"
make s3_access_key_id "mirante"
make s3_secret_access_key "$(random)"

of() { cat "$directory/$1"; }
# Both hosts: Mirante follows whichever is the primary.
make database_url "postgres://mirante:$(of postgres_password)@postgres:5432,postgres-standby:5432/mirante"
make database_replica_url "postgres://mirante:$(of postgres_password)@postgres-standby:5432/mirante"
make redis_url "redis+sentinel://:$(of redis_password)@sentinel-1:26379,sentinel-2:26379,sentinel-3:26379/mirante"
make queue_url "amqp://mirante:$(of rabbitmq_password)@rabbitmq:5672"
make rabbitmq_conf "default_user = mirante
default_pass = $(of rabbitmq_password)
"
