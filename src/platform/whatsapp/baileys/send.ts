/** Sends one message and says what became of it. */
import type { WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import { isSame, parseJid, STATUS_JID, toJid, type WhatsAppAddress } from '../jid.js'
import type { ConnectionEvent, NumberCheck, OutboundMessage, SentMessage, ServerAck } from '../whatsapp.js'
import { SendError } from '../whatsapp.js'
import { createAckBook } from './acks.js'
import { checkNumbers } from './check-numbers.js'
import type { CrashPoint } from './crash-point.js'
import type { DeviceCache } from './device-cache.js'
import { type Encoding, encodeContent } from './encode-content.js'
import type { Gate } from './gate.js'
import { addressOf, type GroupDesk, refusalCode } from './groups.js'
import type { BaileysLibrary } from './load.js'
import type { Answer } from './stanza.js'

export interface SendOptions {
  readonly baileys: BaileysLibrary
  readonly library: WASocket
  readonly gate: Gate
  readonly devices: DeviceCache
  readonly groups: Pick<GroupDesk, 'remembered'>
  readonly me: () => WhatsAppAddress
  readonly clock: Clock
  readonly tell: (event: ConnectionEvent) => void
  readonly crashPoint: CrashPoint | undefined
}

export interface Sending {
  send(message: OutboundMessage, options: { signal: AbortSignal; ackTimeoutMs: number }): Promise<ServerAck>
  checkNumbers(waIds: readonly string[]): Promise<NumberCheck[]>
  /** The message as WhatsApp writes it: sent, and given again to who asks again, so that both are equal. */
  encode(message: SentMessage): Promise<Encoding>
  /** Somebody answered for messages of ours. */
  answered(answer: Answer): void
  /** The next frame that the gate takes is the one of this message. */
  noteFrame(whatsappId: string): void
  /** The connection is over: every wait ends with what is known of its bytes. */
  giveAll(): void
}

/** The server finds the stanza unacceptable: most likely our list of the recipient's devices is old. */
const STALE_DEVICES = 'refused_479'
export function createSending(options: SendOptions): Sending {
  const { baileys, library, gate, devices, groups, me, clock, tell, crashPoint } = options
  const acks = createAckBook()
  const underway = new Map<string, Underway>()

  async function relay({ whatsappId, ...message }: OutboundMessage): Promise<void> {
    const jid = toJid(message.to)
    if (message.to.groupJid === STATUS_JID) assertSeen(message)
    else if (message.to.groupJid) await assertMember(message.to.groupJid)
    else if (!isSame(message.to, me())) await assertReachable(jid)
    const { message: encoded, attributes, nodes } = await encode(message)
    underway.set(whatsappId, { takenBefore: gate.takenCount })
    await library.relayMessage(jid, encoded, {
      messageId: whatsappId,
      additionalAttributes: { ...attributes },
      additionalNodes: nodes,
      ...(message.audience ? { statusJidList: message.audience.map(toJid) } : {}),
    })
  }

  async function encode(message: SentMessage): Promise<Encoding> {
    return encodeContent(message, { codec: baileys, me: me(), now: clock.now() })
  }

  function assertSeen({ audience = [] }: SentMessage): void {
    if (audience.length === 0) throw new SendError('no_audience', { sent: 'no', final: true })
  }

  /** WhatsApp would take the message and show it to nobody, or refuse it without saying why. */
  async function assertMember(groupJid: string): Promise<void> {
    try {
      const { participants } = await groups.remembered(groupJid)
      if (participants.some((participant) => isSame(addressOf(participant) ?? {}, me()))) return
    } catch (error) {
      if (refusalCode(error) === undefined) throw error
    }
    throw new SendError('not_in_group', { sent: 'no', final: true })
  }

  /** Baileys sends to nobody without a word when a person has no devices. */
  async function assertReachable(jid: string): Promise<void> {
    if (devices.has(userOf(jid))) return
    const found = await library.getUSyncDevices([jid], true, false)
    if (found.length === 0) throw await unreachable(jid)
  }

  async function unreachable(jid: string): Promise<SendError> {
    const { waId } = parseJid(jid) ?? {}
    const isMissing = waId !== undefined && !(await checkNumbers(baileys, library, [waId]))[0]?.exists
    return isMissing
      ? new SendError('not_on_whatsapp', { sent: 'no', final: true })
      : new SendError('no_devices', { sent: 'no' })
  }

  return {
    checkNumbers: (waIds) => checkNumbers(baileys, library, waIds),
    encode,
    async send(message, { signal, ackTimeoutMs }) {
      const { whatsappId } = message
      if (signal.aborted) throw new SendError('aborted', { sent: 'no' })
      if (acks.isWaiting(whatsappId)) throw new SendError('already_sending', { sent: 'maybe' })
      const ack = acks.wait(message, { signal, timeoutMs: ackTimeoutMs })
      let leftAt: Date | undefined
      relay(message).then(
        // The frame is with the gate: this comes right behind it.
        () => gate.afterDurable(() => (leftAt = new Date(clock.now()))),
        (error: unknown) => acks.give(whatsappId, notSent(error, underway.get(whatsappId)?.frame)),
      )
      try {
        return { ...(await ack), ...(leftAt ? { leftAt } : {}) }
      } catch (error) {
        if (error instanceof SendError && error.code === STALE_DEVICES) forgetDevices(message.to)
        throw error
      } finally {
        underway.delete(whatsappId)
      }
    },
    answered({ whatsappIds, at, errorCode, receipts = [], staleDevicesOf }) {
      if (staleDevicesOf) forgetDevices(staleDevicesOf)
      for (const whatsappId of whatsappIds) {
        if (acks.isWaiting(whatsappId)) crashPoint?.('after-ack')
        const refused = errorCode === undefined ? {} : { errorCode }
        const late = acks.settle(whatsappId, { at, ...refused })
        if (!late || late === 'in-time' || receipts.length > 0) continue
        const status = errorCode === undefined ? 'sent' : 'failed'
        tell({ type: 'receipt', receipt: { whatsappIds: [whatsappId], chat: late.chat, status, at, ...refused } })
      }
      for (const receipt of receipts) gate.afterDurable(() => tell({ type: 'receipt', receipt }))
    },
    noteFrame(whatsappId) {
      const sending = underway.get(whatsappId)
      // A later frame under this id is a repetition for one recipient: the first has left long ago.
      if (sending) sending.frame ??= gate.takenCount + 1
    },
    giveAll() {
      acks.giveAll((whatsappId) => {
        const sent = hasSurelyNotLeft(underway.get(whatsappId)) ? 'no' : 'maybe'
        return new SendError('connection_closed', { sent })
      })
    },
  }

  /** Baileys fails before it hands the frame to the gate, but for one whose writing it waited for. */
  function notSent(cause: unknown, frame: number | undefined): SendError {
    if (cause instanceof SendError) return cause
    const hasLeft = frame !== undefined && gate.writtenCount >= frame
    if (hasLeft) return new SendError('write_failed', { sent: 'maybe', cause })
    const isUnencrypted = cause instanceof Error && cause.message === 'All encryptions failed'
    return new SendError(isUnencrypted ? 'encryption_failed' : 'not_sent', { sent: 'no', cause })
  }

  function forgetDevices({ waId, lid }: WhatsAppAddress): void {
    if (waId) void devices.del(waId)
    if (lid) void devices.del(lid)
  }

  /** Frames leave in order, so the count of those written tells of each whether it can be among them. */
  function hasSurelyNotLeft(sending: Underway | undefined): boolean {
    if (!sending) return true
    const { takenBefore, frame = takenBefore + 1 } = sending
    return gate.writtenCount < frame
  }
}

function userOf(jid: string): string {
  const { waId, lid } = parseJid(jid) ?? {}
  return waId ?? lid ?? ''
}

interface Underway {
  readonly takenBefore: number
  /** Which frame of the gate it is; while unknown, the next one after `takenBefore` may be it. */
  frame?: number
}
