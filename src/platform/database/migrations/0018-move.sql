-- Where the data of this database has gone or comes from, by `mirante move`: while one of the two is to be started, the other
-- is not.
-- works-with: 0011

create table database_move (
  -- Of this database: source or target. It may have been a target once and a source later.
  side text primary key check (side in ('source', 'target')),
  -- Host and database of the other one.
  other text not null,
  begun_at timestamptz not null default now(),
  -- Null: begun, and not finished.
  finished_at timestamptz
);
grant select on database_move to mirante_system;
