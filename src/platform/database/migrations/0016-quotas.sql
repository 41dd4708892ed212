-- Quotas of outreach, where no Redis counts them: how much of each limit is used, and by which messages.
-- works-with: 0011

create table quota_counter (
  tenant_id uuid not null references tenant on delete cascade,
  name text not null check (name in ('daily', 'hourly', 'number')),
  -- In the tenant's time zone: '2026-11-21', '2026-11-21T14', an instance and a day.
  period text not null,
  used int not null default 0 check (used >= 0),
  began_at timestamptz not null default now(),
  primary key (tenant_id, name, period)
) with (fillfactor = 50);

create table quota_reservation (
  tenant_id uuid not null references tenant on delete cascade,
  message_id uuid not null,
  instance_id uuid not null,
  day text not null,
  hour text not null,
  reserved_at timestamptz not null default now(),
  primary key (tenant_id, message_id)
);

do $$
declare
  name text;
begin
  foreach name in array array['quota_counter', 'quota_reservation'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy system_all on %I to mirante_system using (true) with check (true)', name);
    execute format(
      $policy$create policy tenant_own on %I to mirante_tenant
        using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
        with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)$policy$, name);
    execute format('grant select, insert, update, delete on %I to mirante_system', name);
    execute format('grant select on %I to mirante_tenant', name);
  end loop;
end $$;
