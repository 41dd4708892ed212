-- What a group is called, and until which message a chat was read.

alter table chat
  add column subject text,
  -- Messages up to this one were marked as read towards WhatsApp.
  add column read_message_id uuid;
