-- Contacts: their names, the spellings of a number, what was asked about numbers, and who hears when an identity moves.

-- Names. What views show is the first of: ours, the one in the phone's address book, the one that the person shows.
alter table contact add column given_name text, add column saved_name text, add column push_name text;
update contact set push_name = name;
alter table contact drop column name;
alter table contact add column name text generated always as (coalesce(given_name, saved_name, push_name)) stored;
create index contact_merged on contact (merged_into) where merged_into is not null;

-- Without a contact: a number that WhatsApp was asked about, and nobody has written to or from.
alter table contact_identity alter column contact_id drop not null;
-- Phones: the LID that WhatsApp answered with.
alter table contact_identity add column lid text;

-- Each phone lies beside its shortest spelling (phone-alias.ts): whoever makes a contact makes that row first, so two
-- spellings of one number can never become two contacts, however many write at the same time.
insert into contact_identity (tenant_id, kind, value, contact_id, since)
select distinct on (tenant_id, spelling) tenant_id, 'phone', spelling, contact_id, since + interval '1 microsecond'
from (
  select tenant_id, value, contact_id, since,
    regexp_replace(regexp_replace(regexp_replace(value,
      '^(\+55\d{2})9([6-9]\d{7})$', '\1\2'), '^(\+52)1(\d{10})$', '\1\2'), '^(\+54)9(\d{10})$', '\1\2') as spelling
  from contact_identity where kind = 'phone'
) phone
where spelling <> value
order by tenant_id, spelling, since, value
on conflict (tenant_id, kind, value) do nothing;

-- The group chats of a tenant: a merge goes through them by `message_inbound`, instead of through all messages.
create index chat_group_tenant on chat (tenant_id) where group_jid is not null;

-- How fast an instance may ask WhatsApp about numbers: it has asked for so many that it is idle again at `free_at`.
create table number_check_pace (
  instance_id uuid primary key references instance,
  tenant_id uuid not null references tenant,
  free_at timestamptz not null
);

-- An identity leads to another contact than before: every process forgets what it remembers of that tenant.
create function notify_identity() returns trigger language plpgsql as $$
begin
  perform pg_notify('mirante_identity', new.tenant_id::text);
  return null;
end $$;
create trigger identity_moved after update of contact_id on contact_identity for each row
  when (old.contact_id is not null and old.contact_id is distinct from new.contact_id)
  execute function notify_identity();

-- Row-level security -----------------------------------------------------------------------------------------------------------

grant select, insert, update, delete on number_check_pace to mirante_system, mirante_tenant;
alter table number_check_pace enable row level security;
alter table number_check_pace force row level security;
create policy system_all on number_check_pace to mirante_system using (true) with check (true);
create policy tenant_own on number_check_pace to mirante_tenant
  using (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
