-- What an operator says of who should hold what.
-- works-with: 0011

-- A replica that is to hold nothing, by its name: its gateways hand their numbers over and take none, through restarts, until
-- it is undrained.
create table replica_drain (
  replica text primary key,
  since timestamptz not null default now()
);
grant select, insert, update, delete on replica_drain to mirante_system;

-- A number that is to go to another process. The order holds for this epoch and some minutes: once anybody has taken the
-- number anew, it is over.
create table lease_move (
  resource text primary key,
  epoch bigint not null,
  -- Who held it when the order was given, and is to hand it over.
  from_holder uuid not null,
  -- Null: whoever has room.
  to_replica text,
  asked_at timestamptz not null default now()
);
grant select, insert, update, delete on lease_move to mirante_system;
