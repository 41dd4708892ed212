-- The cluster as its rows tell it: what each process says of itself, and who held what.
-- works-with: 0011

-- Written by the process itself when something has changed, and every few seconds at least.
create table process_report (
  incarnation uuid primary key references process on delete cascade,
  reported_at timestamptz not null,
  -- The schema version that its code wants.
  built_for int not null,
  -- Numbers that it holds, those of them that are connected, and how many it would hold at most. Null: it is no gateway.
  held int,
  open int,
  capacity int,
  -- It is on its way out.
  draining boolean not null,
  -- How far its clock is ahead of the database's. Null: not known yet. Nothing is decided by it.
  clock_ahead_ms bigint,
  rss_bytes bigint not null,
  -- [{name, status, problems: [code]}]
  dependencies jsonb not null
) with (fillfactor = 50);
grant select, insert, update, delete on process_report to mirante_system;

-- One row for each epoch of a lease, written by the statements that take and release it.
create table lease_history (
  resource text not null,
  epoch bigint not null,
  holder uuid not null,
  -- Who that was; its row in `process` does not outlive it. Null: it was not known any more.
  replica text,
  role text,
  slot int,
  taken_at timestamptz not null default now(),
  -- How it could be taken: free, released, own, dead, expired.
  how text not null,
  -- Null: it is held, or its holder has gone without a word and nobody has taken over yet.
  ended_at timestamptz,
  -- Why it ended: stopped, unwanted, balanced, drained, moved; or how the next one could take it: own, dead, expired.
  why text,
  primary key (resource, epoch)
);
create index lease_history_ended on lease_history (ended_at);
grant select, insert, update, delete on lease_history to mirante_system;
