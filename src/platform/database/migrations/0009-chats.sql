-- Chats by their latest message, and the receipts of the members of groups.

-- The newest message of each chat that has one: what the list of chats is in the order of. Beside `chat` and not in it: this
-- row changes with every message, and has the fewest indexes that an update must write. A chat that was merged has none,
-- unless something was accepted for it at that very moment.
create table chat_activity (
  chat_id uuid primary key references chat,
  tenant_id uuid not null,
  instance_id uuid not null,
  last_message_id uuid not null
) with (fillfactor = 50);
insert into chat_activity (chat_id, tenant_id, instance_id, last_message_id)
select chat.id, chat.tenant_id, chat.instance_id, newest.id
from chat cross join lateral (select id from message where chat_id = chat.id order by id desc limit 1) newest;
create index chat_activity_tenant on chat_activity (tenant_id, last_message_id);
-- The tenant in front, since row-level security asks for it, too: then no plan joins two indexes and sorts.
create index chat_activity_instance on chat_activity (tenant_id, instance_id, last_message_id);

-- What the members of a group did with a message of ours.
create table member_receipt (
  message_id uuid not null references message on delete cascade,
  tenant_id uuid not null,
  -- LID, or E.164 with '+' where no LID is known; `alias` is the other one, if that is known as well.
  member text not null,
  alias text,
  -- It was sent to this member. False: a receipt came of somebody of whom we do not know that.
  expected boolean not null default false,
  delivered_at timestamptz,
  read_at timestamptz,
  played_at timestamptz,
  primary key (message_id, member)
) with (fillfactor = 70);

-- Receipts that came before their message, of the members of a group one each; '' is the one person of a chat.
alter table early_receipt add column member text not null default '', add column alias text;
alter table early_receipt drop constraint early_receipt_pkey;
alter table early_receipt add primary key (instance_id, whatsapp_id, status, member);

do $$
declare name text;
begin
  foreach name in array array['chat_activity', 'member_receipt'] loop
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
revoke insert, update, delete on chat_activity, member_receipt from mirante_tenant;
