/**
 * WhatsApp restricts a number that writes to too many strangers (its refusal 463): for a time it takes no messages of that
 * number to people who never wrote to it. Those are held, queued, until the time is over, and then leave by themselves; all
 * other chats go on. Trying on meanwhile would make it worse.
 */
import type { Clock } from '../../kernel/clock.js'
import { type IdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import { withFence } from '../../platform/leases/fence.js'
import { record } from '../events/record.js'
import type { SessionContext } from '../instances/session-attachment.js'
import type { ClaimedHead, Outcome } from './lane-store.js'
import { findRestriction, isCold, releaseWarmed, saveRestriction } from './restriction-store.js'

export interface Restrictions {
  /** What a predecessor was told. */
  recall(tenantId: TenantId, instanceId: InstanceId): Promise<void>
  /** The hold of a message that would only be refused; undefined when it may be sent. */
  holdBefore(session: SessionContext, head: ClaimedHead): Promise<Outcome | undefined>
  /** The same for one that was refused with 463; undefined when the number is not restricted, and the refusal is its own. */
  holdAfter(session: SessionContext, head: ClaimedHead): Promise<Outcome | undefined>
  /** What was held for people who have written to us meanwhile may leave. */
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

export function createRestrictions({ db, clock, ids, logger }: RestrictionsOptions): Restrictions {
  const untilOf = new Map<InstanceId, number>()
  const asking = new Map<InstanceId, Promise<number | undefined>>()

  return {
    async recall(tenantId, instanceId) {
      const until = await findRestriction(db, tenantId, instanceId)
      if (until) untilOf.set(instanceId, until.getTime())
      else untilOf.delete(instanceId)
    },
    async holdBefore(session, head) {
      const until = current(session.instanceId)
      if (until === undefined || head.groupJid !== null) return undefined
      return (await isCold(db, session.tenantId, head.chatId)) ? hold(until) : undefined
    },
    async holdAfter(session, head) {
      if (head.groupJid !== null) return undefined
      const until = current(session.instanceId) ?? (await learnOnce(session))
      return until === undefined ? undefined : hold(until)
    },
    async releaseWarmed({ instanceId, lease }) {
      if (current(instanceId) !== undefined) await releaseWarmed(db, lease, instanceId)
    },
  }

  function current(instanceId: InstanceId): number | undefined {
    const until = untilOf.get(instanceId)
    return until !== undefined && until > clock.now() ? until : undefined
  }

  function hold(until: number): Outcome {
    const dueInMs = Math.max(MIN_HOLD_MS, until - clock.now())
    return { to: 'queued', dueInMs, strike: false, code: RESTRICTED, hold: 'restricted' }
  }

  /** Many messages may be refused at once: WhatsApp is asked, and the event recorded, for the first of them. */
  function learnOnce(session: SessionContext): Promise<number | undefined> {
    const { instanceId } = session
    const underWay = asking.get(instanceId)
    if (underWay) return underWay
    const asked = learn(session).finally(() => asking.delete(instanceId))
    asking.set(instanceId, asked)
    return asked
  }

  async function learn(session: SessionContext): Promise<number | undefined> {
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
    untilOf.set(instanceId, until.getTime())
    logger.warn('SESSION', 'WhatsApp restricts this number: messages to strangers wait', { instance: instanceId })
    return until.getTime()
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
