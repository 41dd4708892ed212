-- What an owner may set of an instance and what WhatsApp says of its account.

alter table instance
  add column reject_calls boolean not null default false,
  -- Until then WhatsApp takes no messages of this number to people who never wrote to it.
  add column restricted_until timestamptz,
  -- Where WhatsApp shows the picture of the account; such addresses expire.
  add column picture_url text;

-- Whom the account of an instance has blocked.
create table contact_block (
  tenant_id uuid not null references tenant,
  instance_id uuid not null references instance,
  contact_id uuid not null references contact,
  blocked_at timestamptz not null default now(),
  primary key (instance_id, contact_id)
);
create index contact_block_contact on contact_block (contact_id);

grant select, insert, update, delete on contact_block to mirante_system, mirante_tenant;
alter table contact_block enable row level security;
alter table contact_block force row level security;
create policy system_all on contact_block to mirante_system using (true) with check (true);
create policy tenant_own on contact_block to mirante_tenant
  using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
