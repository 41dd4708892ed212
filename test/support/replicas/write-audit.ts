/**
 * A witness in the database itself: when a transaction commits that wrote keys, received messages or claims of a number, it
 * compares the writer's replica (the name of its connection) and, for claims, its epoch with the lease as it is at that
 * moment. Whatever is accepted from a replica that does not hold the lease is kept. It sees replicas, not the processes of one.
 */
import type pg from 'pg'

export interface StaleWrite {
  readonly table: string
  readonly operation: string
  readonly writer: string
  /** Undefined: nobody. */
  readonly holder: string | undefined
}

export interface WriteAudit {
  /** Writes that were looked at. */
  readonly seen: number
  readonly stale: readonly StaleWrite[]
  /** Logins (`creds`) that were deleted. */
  readonly loginsDeleted: number
}

/** Needs a superuser's connection and the schema of the product. */
export async function installWriteAudit(db: pg.Pool): Promise<void> {
  await db.query(INSTALL)
}

/** Everything since it was installed. */
export async function readWriteAudit(db: pg.Pool): Promise<WriteAudit> {
  const { rows } = await db.query<{ table: string; operation: string; writer: string; holder: string | null }>(
    `select table_name as "table", operation, writer, holder from audit.write where what = 'stale' order by at`,
  )
  const counts = await db.query<{ seen: string; deleted: string }>(`
    select case when is_called then last_value else 0 end as seen,
      (select count(*) from audit.write where what = 'login deleted') as deleted
    from audit.seen`)
  return {
    seen: Number(counts.rows[0]?.seen),
    stale: rows.map(({ holder, ...row }) => ({ ...row, holder: holder ?? undefined })),
    loginsDeleted: Number(counts.rows[0]?.deleted),
  }
}

const INSTALL = `
  create schema audit;
  create sequence audit.seen;
  create table audit.write (
    at timestamptz not null default clock_timestamp(),
    what text not null, table_name text not null, operation text not null, instance_id uuid not null,
    writer text not null, holder text, epoch bigint);

  create function audit.look() returns trigger language plpgsql security definer as $$
  declare
    subject record;
    replica text;
    current_epoch bigint;
    writer text := regexp_replace(current_setting('application_name'), '^mirante ', '');
    epoch bigint;
  begin
    if tg_op = 'DELETE' then subject := old; else subject := new; end if;
    if tg_table_name = 'message' then epoch := subject.epoch; end if;
    perform nextval('audit.seen');
    select p.replica, l.epoch into replica, current_epoch
      from lease l left join process p on p.incarnation = l.holder where l.resource = 'instance:' || subject.instance_id;
    if replica is distinct from writer or epoch <> current_epoch then
      insert into audit.write (what, table_name, operation, instance_id, writer, holder, epoch)
        values ('stale', tg_table_name, tg_op, subject.instance_id, writer, replica, epoch);
    end if;
    return null;
  end $$;

  create function audit.look_at_login() returns trigger language plpgsql security definer as $$
  begin
    insert into audit.write (what, table_name, operation, instance_id, writer)
      values ('login deleted', tg_table_name, tg_op, old.instance_id, current_setting('application_name'));
    return null;
  end $$;

  -- Deferred: looked at when the transaction commits.
  create constraint trigger audit after insert or update or delete on credential
    deferrable initially deferred for each row execute function audit.look();
  create constraint trigger audit after insert on inbound_raw
    deferrable initially deferred for each row execute function audit.look();
  create constraint trigger audit after update on message
    deferrable initially deferred for each row when (new.epoch is distinct from old.epoch) execute function audit.look();
  create trigger audit_login after delete on credential
    for each row when (old.kind = 'creds') execute function audit.look_at_login();`
