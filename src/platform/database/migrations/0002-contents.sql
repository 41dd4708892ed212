-- Messages about other messages, groups, and what contents need besides their words.

alter table message
  -- The message that this one answers, changes or judges; and WhatsApp's name for it, which may be all we know.
  add column context_id uuid,
  add column context_whatsapp_id text,
  -- Of a poll: the key of its votes.
  add column secret bytea,
  add column edited_at timestamptz,
  add column deleted_at timestamptz;

