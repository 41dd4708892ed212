/** Compares what both sides wrote with what both sides have, for many numbers at once, and counts what must never happen. */
import { compare } from '../compare-texts.js'
import { eventually } from '../eventually.js'
import type { Load } from './load.js'
import type { Chat, PairedNumber } from './numbers.js'
import type { Replicas } from './replicas.js'
import { readWriteAudit, type StaleWrite } from './write-audit.js'

export interface ReplicasVerdict {
  readonly sent: number
  readonly received: number
  /** Dropped by whoever got them: no harm. */
  readonly resentUnderSameId: number
  /** Writes of keys, received messages and claims that the audit looked at. */
  readonly writesSeen: number
  /** The first of what `staleWrites` counts. */
  readonly examples: readonly StaleWrite[]
  readonly zeros: Zeros
}

/** What must be 0. */
export interface Zeros {
  readonly lost: number
  readonly shownTwice: number
  readonly reordered: number
  readonly inboundLost: number
  readonly inboundStoredTwice: number
  readonly inboundReordered: number
  /** By phones of others, and by the owners' own. */
  readonly undecryptable: number
  /** Messages that we could not decrypt ("Bad MAC") and asked for again. */
  readonly badMac: number
  readonly reusedCounters: number
  /** QR codes shown, and numbers linked, after the pairing. */
  readonly newQrs: number
  readonly loginsDeleted: number
  /** Accepted by the database from a replica that did not hold the number. */
  readonly staleWrites: number
  readonly notConnected: number
  /** Messages and raw entries that never came to rest. */
  readonly stuck: number
}

export interface Judge {
  /** Resolves to whether everything came to rest within this time. */
  settle(load: Load, withinMs: number): Promise<boolean>
  judge(load: Load): Promise<ReplicasVerdict>
}

interface SimulatorVerdict {
  readonly distinct: number
  readonly doubledById: number
  readonly undecryptable: number
  readonly reusedRatchetCounters: number
  readonly undeliveredInbound: number
}

/** Made when the numbers are paired: what happened before does not count. */
export async function createJudge(replicas: Replicas, numbers: readonly PairedNumber[]): Promise<Judge> {
  const { simulator, db } = replicas
  const before = { qrs: await qrsShown(), pairings: await pairings(), retries: await retriesAsked() }
  const deletedBefore = (await readWriteAudit(db)).loginsDeleted
  return { settle, judge }

  function settle(load: Load, withinMs: number): Promise<boolean> {
    const isAtRest = async (): Promise<boolean> => {
      const { distinct, undeliveredInbound } = await simulatorVerdict()
      return (
        distinct >= load.accepted &&
        undeliveredInbound === 0 &&
        (await stuck()) === 0 &&
        (await inbound()) >= load.written
      )
    }
    return eventually(isAtRest, 'everything comes to rest', withinMs).then(
      () => true,
      (error: unknown) => {
        console.log(`  ${String(error)}`)
        return false
      },
    )
  }

  async function judge(load: Load): Promise<ReplicasVerdict> {
    const chats = numbers.flatMap((number) => number.chats.map((chat) => ({ number, chat })))
    const stored = await storedInbound()
    const outward = await Promise.all(
      chats.map(async ({ chat }) => compare(load.sentTo(chat.phone), await shownTo(chat))),
    )
    const inward = chats.map(({ chat }) => compare(load.writtenBy(chat.phone), stored.get(chat.phone) ?? []))
    const [phones, own, audit] = [await simulatorVerdict(), await ownPhones(), await readWriteAudit(db)]
    return {
      sent: load.accepted,
      received: load.written,
      resentUnderSameId: phones.doubledById,
      writesSeen: audit.seen,
      examples: audit.stale.slice(0, 5),
      zeros: {
        lost: sum(outward, ({ lost }) => lost),
        shownTwice: sum(outward, ({ surplus }) => surplus),
        reordered: sum(outward, ({ reordered }) => reordered),
        inboundLost: sum(inward, ({ lost }) => lost),
        inboundStoredTwice: sum(inward, ({ surplus }) => surplus),
        inboundReordered: sum(inward, ({ reordered }) => reordered),
        undecryptable: phones.undecryptable + own.undecryptable,
        badMac: (await retriesAsked()) - before.retries,
        reusedCounters: phones.reusedRatchetCounters + own.reusedCounters,
        newQrs: (await qrsShown()) - before.qrs + (await pairings()) - before.pairings,
        loginsDeleted: audit.loginsDeleted - deletedBefore,
        staleWrites: audit.stale.length,
        notConnected: numbers.length - (await one<number>(CONNECTED)),
        stuck: await stuck(),
      },
    }
  }

  // What WhatsApp saw

  function simulatorVerdict(): Promise<SimulatorVerdict> {
    return simulator.admin('GET', '/admin/verdict')
  }

  async function shownTo({ phone }: Chat): Promise<string[]> {
    const path = `/admin/contacts/${phone}/inbox?limit=200000`
    const { messages } = await simulator.admin<{ messages: { text: string }[] }>('GET', path)
    return messages.map(({ text }) => text)
  }

  /** What the numbers' own phones made of the copies that they got. */
  async function ownPhones(): Promise<{ undecryptable: number; reusedCounters: number }> {
    const { accounts } = await simulator.admin<{
      accounts: { copies: { undecryptable: number; reusedCounters: number } | null }[]
    }>('GET', '/admin/accounts')
    return {
      undecryptable: sum(accounts, ({ copies }) => copies?.undecryptable ?? 0),
      reusedCounters: sum(accounts, ({ copies }) => copies?.reusedCounters ?? 0),
    }
  }

  async function pairings(): Promise<number> {
    return (await simulator.admin<{ pairings: number }>('GET', '/admin/stats')).pairings
  }

  async function retriesAsked(): Promise<number> {
    const { entries } = await simulator.admin<{ entries: { attrs: { type?: string } }[] }>(
      'GET',
      '/admin/trace?tag=receipt&direction=in&limit=200000',
    )
    return entries.filter(({ attrs }) => attrs.type === 'retry').length
  }

  // What we have

  async function storedInbound(): Promise<Map<string, string[]>> {
    const { rows } = await db.query<{ phone: string; texts: string[] }>(`
      select ltrim(ci.value, '+') as phone, array_agg(m.content #>> '{text,body}' order by m.id) as texts
      from message m join contact_identity ci on ci.contact_id = m.sender_id and ci.kind = 'phone'
      where m.direction = 'inbound' group by ci.value`)
    return new Map(rows.map(({ phone, texts }) => [phone, texts]))
  }

  function inbound(): Promise<number> {
    return one(`select count(*)::int as value from message where direction = 'inbound'`)
  }

  function stuck(): Promise<number> {
    return one(STUCK)
  }

  function qrsShown(): Promise<number> {
    return one(`select count(*)::int as value from event where type = 'instance.qr_updated'`)
  }

  async function one<Value>(query: string): Promise<Value> {
    const { rows } = await db.query<{ value: Value }>(query)
    if (!rows[0]) throw new Error('the database counts nothing')
    return rows[0].value
  }
}

/** What is not 0 and should be, as sentences. */
export const problemsOf = ({ zeros, examples }: ReplicasVerdict): string[] =>
  Object.entries(zeros).flatMap(([name, count]) => {
    if (count === 0) return []
    return [`${name} is ${count}, not 0${name === 'staleWrites' ? `: ${JSON.stringify(examples)}` : ''}`]
  })

const CONNECTED = `
  select count(*)::int as value from instance where connection_status = 'CONNECTED' and deleted_at is null`

const STUCK = `
  select (select count(*) from message where direction = 'outbound' and status in ('queued', 'sending', 'unknown', 'failed'))::int
    + (select count(*) from inbound_raw where done_at is null)::int as value`

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
