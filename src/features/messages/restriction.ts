/**
 * WhatsApp restricts a number that writes to too many strangers (its refusal 463): for a time it takes no messages of that
 * number to people who never wrote to it. Those are held, queued, until the time is over, and then leave by themselves; all
 * other chats go on. Trying on meanwhile would make it worse.
 *
 * Who is no stranger, WhatsApp's token of that person says: without one it refuses. Where there is none we go by our own
 * history, since WhatsApp may not ask for tokens; who is refused in spite of it waits for a token, or for their next message.
 */
import type { Clock } from '../../kernel/clock.js'
import {
  type ChatId,
  type IdGenerator,
  type InstanceId,
  type MessageId,
  publicId,
  type TenantId,
} from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import { withFence } from '../../platform/leases/fence.js'
import { addressFrom, type WhatsAppAddress } from '../../platform/whatsapp/jid.js'
import { record } from '../events/record.js'
import type { SessionContext } from '../instances/session-attachment.js'
import type { ClaimedHead, Outcome } from './lane-store.js'
import {
  findHeldPeople,
  findRestriction,
  isCold,
  releaseTrusted,
  releaseWarmed,
  saveRestriction,
} from './restriction-store.js'

export interface Restrictions {
  /** What a predecessor was told. */
  recall(tenantId: TenantId, instanceId: InstanceId): Promise<void>
  /** The hold of a message that would only be refused; undefined when it may be sent. */
  holdBefore(session: SessionContext, head: ClaimedHead): Promise<Outcome | undefined>
  /** The same for one that was refused with 463; undefined when the number is not restricted, and the refusal is its own. */
  holdAfter(session: SessionContext, head: ClaimedHead): Promise<Outcome | undefined>
  /** WhatsApp gave us the token of a person. */
  trusted(instanceId: InstanceId, by: WhatsAppAddress): void
  /** What was held for people who have given a token meanwhile, or written to us, may leave. */
  releaseWarmed(session: SessionContext): Promise<void>
}

export interface RestrictionsOptions {
  readonly db: Database
  readonly clock: Clock
  readonly ids: IdGenerator
  readonly logger: Logger
}

export const RESTRICTED = 'refused_463'
/** When WhatsApp does not say how long: then one message is tried again. */
const UNKNOWN_END_MS = 3_600_000
/** WhatsApp's clock and ours may differ: what is refused again at the end is not tried without a pause. */
const MIN_HOLD_MS = 5_000
/** A message that was refused is held some moments after the token that it lacked may have come. */
const TRUSTED_LATELY_MS = 60_000

/** What is known of one number while it is restricted. */
interface Restricted {
  readonly until: number
  /** Chats that were refused → an id made then, behind which a message of theirs has to be. */
  readonly refused: Map<ChatId, MessageId>
  readonly trusted: { readonly by: WhatsAppAddress; readonly at: number }[]
  recalledFor?: SessionContext['connection']
}

export function createRestrictions({ db, clock, ids, logger }: RestrictionsOptions): Restrictions {
  const restricted = new Map<InstanceId, Restricted>()
  const asking = new Map<InstanceId, Promise<Restricted | undefined>>()

  return {
    async recall(tenantId, instanceId) {
      restricted.delete(instanceId)
      const until = await findRestriction(db, tenantId, instanceId)
      if (until) begin(instanceId, until)
    },
    async holdBefore(session, head) {
      const state = current(session.instanceId)
      if (!state || head.groupJid !== null) return undefined
      if (session.connection.isTrustedBy?.(addressFrom(head))) return undefined
      const isHeld = state.refused.has(head.chatId) || (await isCold(db, session.tenantId, head.chatId))
      return isHeld ? hold(state) : undefined
    },
    async holdAfter(session, head) {
      if (head.groupJid !== null) return undefined
      const state = current(session.instanceId) ?? (await learnOnce(session))
      state?.refused.set(head.chatId, ids.next('msg'))
      return state && hold(state)
    },
    trusted(instanceId, by) {
      current(instanceId)?.trusted.push({ by, at: clock.mono() })
    },
    async releaseWarmed(session) {
      const { tenantId, instanceId, lease } = session
      const state = current(instanceId)
      if (!state) return
      await recallTrusted(session, state)
      for (const chatId of await releaseWarmed(db, lease, instanceId, state.refused)) state.refused.delete(chatId)
      const people = state.trusted.map(({ by }) => by)
      if (people.length > 0) await releaseTrusted(db, lease, { tenantId, instanceId, people })
      forgetBefore(state, clock.mono() - TRUSTED_LATELY_MS)
    },
  }

  /** Once for a connection: tokens that came while nobody listened. */
  async function recallTrusted({ tenantId, instanceId, connection }: SessionContext, state: Restricted): Promise<void> {
    if (state.recalledFor === connection) return
    const held = connection.isTrustedBy ? await findHeldPeople(db, tenantId, instanceId) : []
    for (const by of held) if (connection.isTrustedBy?.(by)) state.trusted.push({ by, at: clock.mono() })
    state.recalledFor = connection
  }

  function current(instanceId: InstanceId): Restricted | undefined {
    const state = restricted.get(instanceId)
    if (state && state.until > clock.now()) return state
    restricted.delete(instanceId)
    return undefined
  }

  function begin(instanceId: InstanceId, until: Date): Restricted {
    const state = { until: until.getTime(), refused: new Map(), trusted: [] }
    restricted.set(instanceId, state)
    return state
  }

  function hold({ until }: Restricted): Outcome {
    const dueInMs = Math.max(MIN_HOLD_MS, until - clock.now())
    return { to: 'queued', dueInMs, strike: false, code: RESTRICTED, hold: 'restricted' }
  }

  /** Many messages may be refused at once: WhatsApp is asked, and the event recorded, for the first of them. */
  function learnOnce(session: SessionContext): Promise<Restricted | undefined> {
    const { instanceId } = session
    const underWay = asking.get(instanceId)
    if (underWay) return underWay
    const asked = learn(session).finally(() => asking.delete(instanceId))
    asking.set(instanceId, asked)
    return asked
  }

  async function learn(session: SessionContext): Promise<Restricted | undefined> {
    const { tenantId, instanceId, lease } = session
    const until = await askForEnd(session)
    if (until === undefined) return undefined
    const event = {
      id: ids.next('evt'),
      tenantId,
      type: 'instance.restricted' as const,
      instanceId,
      subjectId: instanceId,
      data: { instanceId: publicId('ins', instanceId), until: until.toISOString() },
    }
    await withFence(db, lease, async (tx) => {
      await saveRestriction(tx, tenantId, instanceId, until)
      await record(tx, [event])
    })
    logger.warn('SESSION', 'WhatsApp restricts this number: messages to strangers wait', { instance: instanceId })
    return begin(instanceId, until)
  }

  async function askForEnd({ connection, instanceId }: SessionContext): Promise<Date | undefined> {
    const unknown = new Date(clock.now() + UNKNOWN_END_MS)
    try {
      const said = await connection.restriction?.()
      if (!said) return unknown
      return said.active ? (said.until ?? unknown) : undefined
    } catch (error) {
      logger.warn('SESSION', 'WhatsApp does not say until when', { instance: instanceId, error: errorText(error) })
      return unknown
    }
  }
}

function forgetBefore({ trusted }: Restricted, mono: number): void {
  while (trusted[0] && trusted[0].at < mono) trusted.shift()
}
