-- Events for who consumes them at a broker instead of by webhook.
-- works-with: 0011

-- Exists once the sink has begun: a tenant without a cursor is then one that had no event before.
create table event_sink (
  begun_at timestamptz not null default now(),
  single boolean primary key default true check (single)
);
grant select, insert on event_sink to mirante_system;

-- How far the events of a tenant have been published, in its sequence.
create table event_sink_cursor (
  tenant_id uuid primary key references tenant,
  seq bigint not null
) with (fillfactor = 50);
grant select, insert, update, delete on event_sink_cursor to mirante_system;
alter table event_sink_cursor enable row level security;
alter table event_sink_cursor force row level security;
create policy system_all on event_sink_cursor to mirante_system using (true) with check (true);
create policy tenant_own on event_sink_cursor to mirante_tenant
  using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
