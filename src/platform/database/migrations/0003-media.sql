-- Media: one row for each file that was uploaded, fetched from a link, or came in. Its bytes lie in the media storage.
-- A file of a message shares its life with the message: the row is made in the statement that makes the message, `pending`,
-- and the bytes follow.
create table media (
  id uuid primary key,
  tenant_id uuid not null,
  -- Null: uploaded, for any instance of the tenant.
  instance_id uuid references instance,
  -- The message that it was fetched for or came with. Null: uploaded; then messages name it, see message.media_id.
  message_id uuid,
  direction text not null check (direction in ('outbound', 'inbound')),
  state text not null check (state in ('pending', 'stored', 'failed')),
  -- As what it is sent: image, video, audio, document, sticker. Null: uploaded without saying.
  type text,
  mime_type text,
  size bigint,
  sha256 bytea,
  filename text,
  width int,
  height int,
  seconds int,
  -- 64 values from 0 to 100.
  waveform bytea,
  -- JPEG of a few kB.
  thumbnail bytea,
  storage_key text not null,
  -- Inbound, until it is stored: where WhatsApp keeps it and the key to it, in the provider's words, sealed. (The link of an
  -- outbound one is in its message's content and nowhere else.)
  source_sealed bytea,
  attempts int not null default 0,
  next_attempt_at timestamptz,
  error_code text,
  created_at timestamptz not null default now(),
  stored_at timestamptz
);
create index media_tenant on media (tenant_id, id);
create index media_pending on media (instance_id, next_attempt_at) where state = 'pending' and direction = 'inbound';

alter table message add column media_id uuid;
create index message_media on message (media_id) where media_id is not null;

-- What WhatsApp answered when a file was uploaded to it: the same upload serves every recipient of the instance, every
-- repetition under the same WhatsApp id, and whoever asks for a message again. Sealed: it holds the key to the file.
create table media_upload (
  media_id uuid not null references media on delete cascade,
  instance_id uuid not null references instance,
  -- Pictures sent as documents are encrypted as documents.
  type text not null,
  tenant_id uuid not null,
  sealed bytea not null,
  uploaded_at timestamptz not null default now(),
  primary key (media_id, instance_id, type)
);

grant select, insert, update, delete on media, media_upload to mirante_system, mirante_tenant;
do $$
declare name text;
begin
  foreach name in array array['media', 'media_upload'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy system_all on %I to mirante_system using (true) with check (true)', name);
    execute format(
      $policy$create policy tenant_own on %I to mirante_tenant
        using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
        with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)$policy$, name);
  end loop;
end $$;
-- Secrets that no request has a use for.
revoke select, insert, update on media_upload from mirante_tenant;
