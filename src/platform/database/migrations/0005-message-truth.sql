-- What is true of a message: its way step by step, its words for the search, and how far back events are kept.

-- Steps ----------------------------------------------------------------------------------------------------------------------

-- When its bytes left this machine at the try that was acknowledged.
alter table message add column left_at timestamptz;

-- The steps of a message's way that its row does not hold. A message that goes at the first try has none: its one claim is
-- `first_try_at` and `epoch`, and what follows are its times. So the usual message costs no row here.
create table message_step (
  message_id uuid not null references message on delete cascade,
  tenant_id uuid not null,
  -- Which try it belongs to, or after which one it happened; 0 before the first.
  attempt int not null,
  -- released, if it had waited; claimed; how a try ended badly: not_sent (surely), maybe_sent, failed, gave_up; what a person asked for: resend, cancelled.
  step text not null check (step in ('released', 'claimed', 'not_sent', 'maybe_sent', 'failed', 'gave_up', 'resend', 'cancelled')),
  -- Of the lease under which it was claimed.
  epoch bigint,
  code text,
  at timestamptz not null default clock_timestamp(),
  primary key (message_id, attempt, step)
);

-- From an event to its deliveries: for the trace, and for forgetting old events.
create index delivery_event on delivery (event_id);

-- Events are kept for a time. Up to this position of the sequence they may be gone.
alter table event_counter add column forgotten_seq bigint not null default 0;

-- Search ---------------------------------------------------------------------------------------------------------------------

-- Text as it is compared: lower case, without accents, whether they are part of the letter or written after it. Own, because
-- `unaccent` is an extension that the embedded PostgreSQL lacks, and because an index needs a function that never changes.
create function search_fold(words text) returns text language sql immutable strict parallel safe as $$
  select lower(regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]+', '', 'g'))
$$;

-- The words of a message, and its tenant among them: so one index finds the words of one tenant. What is beyond the longest
-- text that WhatsApp takes is left out, since a tsvector has a limit, too.
create function search_words(tenant uuid, type text, content jsonb) returns tsvector
language sql immutable parallel safe as $$
  select to_tsvector('simple', left(search_fold(left(
    coalesce(content -> 'text' ->> 'body', '')
      || ' ' || coalesce(content -> type ->> 'caption', '')
      || ' ' || coalesce(content -> type ->> 'filename', '')
      || ' ' || coalesce(content #>> '{edit,text,body}', '')
      || ' ' || coalesce(content #>> '{poll,question}', '')
      || ' ' || coalesce(content #>> '{location,name}', '')
      || ' ' || coalesce(content #>> '{location,address}', ''), 65536)), 65536))
    || array_to_tsvector(array[tenant::text])
$$;

-- Beside the messages and filled behind them: an index of words costs more than accepting the message does.
create table message_search (
  message_id uuid primary key references message on delete cascade,
  tenant_id uuid not null,
  words tsvector not null
);
create index message_search_words on message_search using gin (words);

-- Up to which event of each tenant's sequence its messages are in there.
create table search_position (
  tenant_id uuid primary key references tenant,
  seq bigint not null default 0
) with (fillfactor = 50);

-- Row-level security ---------------------------------------------------------------------------------------------------------

do $$
declare name text;
begin
  foreach name in array array['message_step', 'message_search', 'search_position'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy system_all on %I to mirante_system using (true) with check (true)', name);
    execute format(
      $policy$create policy tenant_own on %I to mirante_tenant
        using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
        with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)$policy$, name);
    execute format('grant select, insert, update, delete on %I to mirante_system, mirante_tenant', name);
  end loop;
end $$;
-- What a request never changes by itself.
revoke insert, update, delete on message_search, search_position from mirante_tenant;
