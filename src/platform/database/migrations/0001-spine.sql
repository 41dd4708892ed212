-- The spine: what would be expensive to change later. Ids are UUIDv7 made by the application.
-- Hot tables carry tenant_id without a foreign key to tenant: their instance or chat names it already.
-- Every table with tenant_id has forced row-level security; a test keeps it so.

-- Roles are of the whole cluster, so another database of it may have made them already.
do $$ begin
  create role mirante_system nologin;
exception when duplicate_object or unique_violation then null; end $$;
do $$ begin
  create role mirante_tenant nologin nobypassrls;
exception when duplicate_object or unique_violation then null; end $$;
do $$ begin
  execute format('grant mirante_system, mirante_tenant to %I', session_user);
exception when others then
  -- A superuser needs no grant; two databases that migrate at once may collide on the same catalogue row.
  if not (select rolsuper from pg_roles where rolname = session_user) then raise; end if;
end $$;
grant usage on schema public to mirante_system, mirante_tenant;

-- Tenants and keys ---------------------------------------------------------------------------------------------------------

create table tenant (
  id uuid primary key,
  name text not null,
  created_at timestamptz not null default now()
);

create table api_key (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  -- The part of the key that may be shown: `mir_<public id>_<secret>`; 'bootstrap' for BOOTSTRAP_API_KEY.
  public_id text not null unique,
  secret_sha256 bytea not null,
  name text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
create index api_key_tenant on api_key (tenant_id);

-- Data keys, wrapped by the operator's key. `id` is the instance's id, or the tenant's for secrets of a tenant.
create table data_key (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  kek_id text not null,
  wrapped bytea not null,
  created_at timestamptz not null default now()
);

-- Processes and leases -------------------------------------------------------------------------------------------------------

-- A process of Mirante. It holds pg_advisory_lock(incarnation_lock) in a session of its own: lock free = process gone.
create table process (
  incarnation uuid primary key,
  -- Null: behind a transaction pooler, where it can hold no lock. Then only the TTL of its leases tells that it is gone.
  incarnation_lock bigint unique,
  replica text not null,
  role text not null,
  slot int not null,
  version text not null,
  started_at timestamptz not null default now()
);

create table lease (
  resource text primary key,
  holder uuid,
  epoch bigint not null default 0,
  token uuid,
  renew_seq bigint not null default 0,
  acquired_at timestamptz
) with (fillfactor = 70);

-- Instances ------------------------------------------------------------------------------------------------------------------

create table instance (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  name text not null,
  provider text not null default 'baileys',
  enabled boolean not null default true,
  connection_status text not null default 'INITIALIZING' check (connection_status in
    ('CONNECTED', 'DISCONNECTED', 'RECONNECTING', 'QR_REQUIRED', 'AUTH_FAILURE', 'INITIALIZING', 'LOADING')),
  reason text,
  status_since timestamptz not null default now(),
  phone text,
  lid text,
  push_name text,
  -- The QR on show, sealed with the instance's data key: whoever scans it owns the session.
  qr_sealed bytea,
  qr_expires_at timestamptz,
  qr_session_expires_at timestamptz,
  reconnect_attempt int not null default 0,
  reconnect_at timestamptz,
  last_close_reason text,
  last_seen_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  -- A deleted instance is logged out and its secrets are purged by a holder, after the answer to its owner.
  purged_at timestamptz
) with (fillfactor = 70);
create unique index instance_name on instance (tenant_id, name) where deleted_at is null;
create index instance_enabled on instance (id) where enabled and deleted_at is null;
create index instance_to_purge on instance (id) where deleted_at is not null and purged_at is null;

-- Login and Signal keys, sealed. Written only by the lease's holder, under the fence. kind: 'creds' or a Signal key type.
create table credential (
  instance_id uuid not null references instance,
  tenant_id uuid not null,
  kind text not null,
  id text not null,
  sealed bytea not null,
  primary key (instance_id, kind, id)
) with (fillfactor = 70);

-- Credentials that WhatsApp has ended, kept for 30 days for a person to look at.
create table credential_tombstone (
  instance_id uuid not null references instance,
  tenant_id uuid not null references tenant,
  kind text not null,
  id text not null,
  sealed bytea not null,
  reason text not null,
  buried_at timestamptz not null default now(),
  primary key (instance_id, buried_at, kind, id)
);

-- From the web role to the holder of a number. Claimed under the fence; past the deadline it is answered with an error.
create table instance_command (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  instance_id uuid not null references instance,
  kind text not null,
  args jsonb not null default '{}',
  status text not null default 'pending' check (status in ('pending', 'running', 'done', 'failed')),
  result jsonb,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index instance_command_pending on instance_command (instance_id, id) where status = 'pending';

-- Contacts and chats ---------------------------------------------------------------------------------------------------------

create table contact (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  name text,
  -- A contact that turned out to be another one: rows that still name it follow this.
  merged_into uuid references contact,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index contact_tenant on contact (tenant_id, id);

create table contact_identity (
  tenant_id uuid not null references tenant,
  kind text not null check (kind in ('phone', 'lid', 'username', 'bsuid')),
  -- phone: E.164 with '+'; lid: digits.
  value text not null,
  contact_id uuid not null references contact,
  -- Phones: what WhatsApp said when asked. Null: never asked.
  on_whatsapp boolean,
  -- The number WhatsApp knows it by, where it differs (the Brazilian ninth digit): digits.
  wa_id text,
  checked_at timestamptz,
  -- The first phone of a contact is the one that views show; others of its phones are aliases of it.
  since timestamptz not null default now(),
  primary key (tenant_id, kind, value)
);
create index contact_identity_contact on contact_identity (contact_id);

create table chat (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  instance_id uuid not null references instance,
  contact_id uuid references contact,
  group_jid text,
  merged_into uuid references chat,
  created_at timestamptz not null default now(),
  check ((contact_id is null) <> (group_jid is null))
);
create unique index chat_contact on chat (instance_id, contact_id) where contact_id is not null and merged_into is null;
create index chat_by_contact on chat (contact_id) where contact_id is not null;
create index chat_merged on chat (merged_into) where merged_into is not null;
create unique index chat_group on chat (instance_id, group_jid) where group_jid is not null;

-- The order of a chat. A released message takes `next_seq`; `head_seq` is the oldest that is not settled yet, and the lane
-- is empty when they are equal. (The head is a number and not a message's id, because "the next one" must be known from the
-- lane's row alone: a sub-select beside a row lock sees an older snapshot and would miss a message accepted meanwhile.)
-- `head_due_at` is null while the head is in flight or the lane is empty, so the index holds due lanes only: one row per
-- chat, however long its backlog.
create table chat_lane (
  chat_id uuid primary key references chat,
  tenant_id uuid not null,
  instance_id uuid not null references instance,
  next_seq bigint not null default 1,
  head_seq bigint not null default 1,
  head_due_at timestamptz
) with (fillfactor = 50);
create index chat_lane_due on chat_lane (instance_id, head_due_at) where head_due_at is not null;

-- Messages -------------------------------------------------------------------------------------------------------------------

-- In the order in which a message may move: a receipt only moves it forward (enum values compare by position).
create type message_status as enum
  ('received', 'queued', 'sending', 'unknown', 'sent', 'delivered', 'read', 'played', 'failed', 'cancelled');

create table message (
  id uuid primary key,
  tenant_id uuid not null,
  instance_id uuid not null references instance,
  chat_id uuid not null references chat,
  -- Null: our own number.
  sender_id uuid references contact,
  direction text not null check (direction in ('outbound', 'inbound')),
  -- The id on the wire: chosen at accept and never again for what we send.
  whatsapp_id text not null,
  type text not null,
  content jsonb not null,
  origin text not null check (origin in ('human', 'api', 'bot', 'campaign', 'scheduler', 'phone', 'contact')),
  metadata jsonb,
  status message_status not null,
  hold_reason text,
  due_at timestamptz,
  chat_seq bigint,
  -- Claims by a sender, and how many of them ended badly while the connection was up: only those count towards giving up.
  attempts int not null default 0,
  strikes int not null default 0,
  -- The lease epoch of the last attempt.
  epoch bigint,
  error_code text,
  error_detail text,
  created_at timestamptz not null default now(),
  first_try_at timestamptz,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  played_at timestamptz,
  failed_at timestamptz
) with (fillfactor = 70);
create unique index message_outbound on message (instance_id, whatsapp_id) where direction = 'outbound';
create unique index message_inbound on message (instance_id, chat_id, sender_id, whatsapp_id) where direction = 'inbound';
create unique index message_lane on message (chat_id, chat_seq) where chat_seq is not null;
create index message_list on message (tenant_id, id);
create index message_by_chat on message (chat_id, id);
create index message_held on message (due_at) where status = 'queued' and chat_seq is null;

-- A receipt for a message that is not in the table yet (it came before the row): applied when the row appears.
create table early_receipt (
  instance_id uuid not null references instance,
  tenant_id uuid not null,
  whatsapp_id text not null,
  status message_status not null,
  at timestamptz not null,
  error_code text,
  received_at timestamptz not null default now(),
  primary key (instance_id, whatsapp_id, status)
);

-- What WhatsApp delivered, before the receipt that says so: one row per encrypted payload. Sealed: it may hold keys.
create table inbound_raw (
  instance_id uuid not null references instance,
  enc_hash bytea not null,
  tenant_id uuid not null,
  sealed bytea not null,
  -- The order of arrival: a flush stores many at one `received_at`.
  seq bigint generated always as identity,
  received_at timestamptz not null default now(),
  done_at timestamptz,
  -- What it turned out to be: message, protocol, app-state, undecryptable, …
  done_as text,
  primary key (instance_id, enc_hash)
);
create index inbound_raw_open on inbound_raw (seq) where done_at is null;
create index inbound_raw_age on inbound_raw (received_at);

-- Idempotency ----------------------------------------------------------------------------------------------------------------

create table idempotency (
  tenant_id uuid not null,
  route text not null,
  key text not null,
  fingerprint bytea not null,
  -- Null while the first request runs; a crash leaves it null until `running_until`, after which it may be taken over.
  status int,
  response jsonb,
  running_until timestamptz,
  expires_at timestamptz not null,
  primary key (tenant_id, route, key)
);
create index idempotency_expiry on idempotency (expires_at);

-- Events ---------------------------------------------------------------------------------------------------------------------

create table event_counter (
  tenant_id uuid primary key references tenant,
  last_seq bigint not null default 0
) with (fillfactor = 50);

create table event (
  id uuid primary key,
  tenant_id uuid not null,
  -- Without gaps and in commit order per tenant: taken under the tenant's counter row, which is locked until commit.
  seq bigint not null,
  type text not null,
  instance_id uuid,
  -- The message, contact, endpoint or job that it speaks of.
  subject_id uuid,
  -- What was true at that instant; the rest of a message's view never changes and is joined when shown.
  data jsonb not null default '{}',
  -- The body as first delivered, frozen: every attempt to every endpoint sends these bytes.
  body text,
  created_at timestamptz not null default now()
);
create unique index event_seq on event (tenant_id, seq);
create index event_subject on event (subject_id) where subject_id is not null;

-- Jobs -----------------------------------------------------------------------------------------------------------------------

create table job (
  id uuid primary key,
  -- The order of enqueueing; exact within a lane, where enqueueing takes turns.
  seq bigint not null generated by default as identity,
  tenant_id uuid not null,
  kind text not null,
  -- What the job is about: an id and nothing else. Bodies, secrets and numbers never enter a job.
  subject_id uuid not null,
  -- Jobs with the same lane run one after another. Tenant and key.
  lane text,
  -- At most one live job per kind and dedupe key. Tenant and key.
  dedupe text,
  -- waiting: behind another job of its lane, so that the index of due jobs holds the heads of lanes only.
  state text not null default 'ready' check (state in ('waiting', 'ready', 'running', 'dead')),
  due_at timestamptz not null default now(),
  attempt int not null default 0,
  -- Times that its worker was lost with it: no attempts, but a job that kills its workers must die in the end.
  abandoned int not null default 0,
  worker uuid,
  token uuid,
  running_until timestamptz,
  error text,
  created_at timestamptz not null default now(),
  died_at timestamptz
) with (fillfactor = 70);
create index job_due on job (kind, due_at, seq) where state = 'ready';
create index job_running on job (running_until) where state = 'running';
create index job_lane on job (lane, seq) where lane is not null and state <> 'dead';
create index job_dead on job (tenant_id, id) where state = 'dead';
create unique index job_dedupe on job (kind, dedupe) where dedupe is not null and state <> 'dead';

-- Cron. The tick at `last_due_at` has been done; who runs the next one has the token until `running_until`.
create table schedule (
  name text primary key,
  last_due_at timestamptz not null,
  token uuid,
  running_until timestamptz
);

-- Webhooks -------------------------------------------------------------------------------------------------------------------

create table webhook_endpoint (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  -- Null: events of all instances.
  instance_id uuid references instance,
  url text not null,
  -- Null: all public event types.
  events text[],
  format text not null default 'standard',
  secret_sealed bytea not null,
  -- During a rotation the old secret signs too, until then.
  old_secret_sealed bytea,
  old_secret_until timestamptz,
  enabled boolean not null default true,
  disabled_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index webhook_endpoint_tenant on webhook_endpoint (tenant_id) where deleted_at is null;

create table delivery (
  id uuid primary key,
  tenant_id uuid not null,
  endpoint_id uuid not null references webhook_endpoint,
  event_id uuid not null references event,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'exhausted', 'dropped')),
  attempt_count int not null default 0,
  next_attempt_at timestamptz,
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  unique (endpoint_id, event_id)
) with (fillfactor = 70);
create index delivery_list on delivery (endpoint_id, id);

create table attempt (
  delivery_id uuid not null references delivery on delete cascade,
  tenant_id uuid not null references tenant,
  number int not null,
  started_at timestamptz not null,
  duration_ms int not null,
  status int,
  error text,
  -- The first 2 kB of the answer.
  answer text,
  primary key (delivery_id, number)
);

-- Wake-ups ---------------------------------------------------------------------------------------------------------------------
-- Once a statement, with what it touched; delivered at commit. A lost one costs a poll, never a row: see each listener's sweep.

-- UUIDv7 for rows that a statement makes by itself.
create function uuid_v7() returns uuid language sql volatile parallel safe as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

create function notify_job() returns trigger language plpgsql as $$
begin
  -- Also of jobs that are due later: a worker then knows until when it may sleep.
  perform pg_notify('mirante_job', kind) from (select distinct kind from added where state = 'ready') k;
  return null;
end $$;
create trigger job_added after insert on job
  referencing new table as added for each statement execute function notify_job();

create function notify_event() returns trigger language plpgsql as $$
begin
  perform pg_notify('mirante_event', tenant_id::text) from (select distinct tenant_id from added) t;
  return null;
end $$;
create trigger event_added after insert on event
  referencing new table as added for each statement execute function notify_event();

create function notify_outbound() returns trigger language plpgsql as $$
begin
  perform pg_notify('mirante_outbound', instance_id::text)
    from (select distinct instance_id from added where status = 'queued' and chat_seq is not null) i;
  return null;
end $$;
create trigger message_added after insert on message
  referencing new table as added for each statement execute function notify_outbound();

create function notify_command() returns trigger language plpgsql as $$
begin
  perform pg_notify('mirante_command', instance_id::text) from (select distinct instance_id from added) i;
  return null;
end $$;
create trigger command_added after insert on instance_command
  referencing new table as added for each statement execute function notify_command();

create function notify_command_settled() returns trigger language plpgsql as $$
begin
  if new.status in ('done', 'failed') then perform pg_notify('mirante_command_settled', new.id::text); end if;
  return null;
end $$;
create trigger command_settled after update of status on instance_command
  for each row execute function notify_command_settled();

create function notify_instance() returns trigger language plpgsql as $$
begin
  perform pg_notify('mirante_instance', new.id::text);
  return null;
end $$;
create trigger instance_added after insert on instance for each row execute function notify_instance();
create trigger instance_wanted after update of enabled, deleted_at on instance for each row execute function notify_instance();

-- Row-level security -----------------------------------------------------------------------------------------------------------

grant select, insert, update, delete on all tables in schema public to mirante_system;
do $$
declare name text;
begin
  for name in
    select table_name from information_schema.columns where table_schema = 'public' and column_name = 'tenant_id'
    union select 'tenant'
  loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy system_all on %I to mirante_system using (true) with check (true)', name);
    execute format(
      $policy$create policy tenant_own on %1$I to mirante_tenant
        using (%2$I = nullif(current_setting('app.tenant', true), '')::uuid)
        with check (%2$I = nullif(current_setting('app.tenant', true), '')::uuid)$policy$,
      name, case name when 'tenant' then 'id' else 'tenant_id' end);
    execute format('grant select, insert, update, delete on %I to mirante_tenant', name);
  end loop;
end $$;
-- What a request never changes by itself.
revoke insert, update, delete on tenant from mirante_tenant;
revoke all on credential, credential_tombstone, inbound_raw from mirante_tenant;
grant delete on credential, inbound_raw to mirante_tenant;
