-- Brokers.
-- works-with: 0011

-- Names this installation where several share a server: in the names of queues. Made when it is first asked for. A copy of the
-- database has the same; should both use one broker, each takes wake-ups of the other's, which costs them a sweep.
create table installation (
  id uuid not null default gen_random_uuid(),
  single boolean primary key default true check (single)
);
grant select, insert on installation to mirante_system;
