-- Webhooks: circuits, ordered endpoints, replays.

-- Ordered endpoints: the deliveries of one chat follow one another. Deliveries exist for what the endpoint wanted of the
-- tenant's sequence up to `ordered_after`; the fan-out of a later event first makes those of all before it.
alter table webhook_endpoint
  add column ordered boolean not null default false,
  add column ordered_after bigint not null default 0;
create index webhook_endpoint_old_secret on webhook_endpoint (old_secret_until) where old_secret_sealed is not null;

-- How an endpoint has been doing. No row: it never failed.
create table endpoint_circuit (
  endpoint_id uuid primary key references webhook_endpoint,
  tenant_id uuid not null references tenant,
  state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
  opened_at timestamptz,
  -- Open: when the next probe may be made. Half-open: until when its end is waited for.
  probe_at timestamptz,
  -- No foreign key: a probe whose delivery has gone is a lost probe, and `probe_at` tells.
  probe_delivery_id uuid,
  -- The first failure since the last success, and how many there were.
  failing_since timestamptz,
  failure_count int not null default 0
) with (fillfactor = 50);

-- A delivery that came due while its endpoint's circuit was not closed is put aside, without a job: however long the backlog
-- of a dead endpoint is, it costs nothing. Null: not put aside. Otherwise how many of its tries were used up by then.
alter table delivery add column parked_after int;
create index delivery_parked on delivery (endpoint_id, next_attempt_at) where parked_after is not null;

-- A replay of a range: its job goes through the tenant's sequence in steps.
create table replay (
  id uuid primary key,
  tenant_id uuid not null references tenant,
  endpoint_id uuid not null references webhook_endpoint,
  only_failed boolean not null,
  since timestamptz not null,
  until timestamptz not null,
  -- What is still to be done: the events after this position, up to the last one.
  after_seq bigint not null,
  last_seq bigint not null,
  created_at timestamptz not null default now(),
  finished_at timestamptz
);

grant select, insert, update, delete on endpoint_circuit, replay to mirante_system;
do $$
declare name text;
begin
  foreach name in array array['endpoint_circuit', 'replay'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy system_all on %I to mirante_system using (true) with check (true)', name);
    execute format(
      $policy$create policy tenant_own on %1$I to mirante_tenant
        using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
        with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)$policy$, name);
    execute format('grant select, insert, update, delete on %I to mirante_tenant', name);
  end loop;
end $$;
