/**
 * One connection of one number: from opening the socket to its single `close` event.
 *
 *     connecting ──success──▶ loading ──▶ open ──▶ over
 *         └──────qr──▶ paired ───────────────────▶ over (a restart follows)
 *
 * Whatever ends it comes to `finish`, once: the gate drops what it holds, the keys are sealed, who waits for an
 * acknowledgement learns what is known, the socket is cut, and `close` is told with the first reason.
 */
import type { Agent } from 'node:https'
import type { BinaryNode, ConnectionState, UserFacingSocketConfig, WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import type { Connection, ConnectOptions } from '../whatsapp.js'
import { SendError } from '../whatsapp.js'
import { createAccount } from './account.js'
import { createCalls } from './calls.js'
import { createCatchUp } from './catch-up.js'
import { markRead, showActivity } from './chat-actions.js'
import { type Closing, readClosing, readRefusedUpgrade } from './closing.js'
import { type CrashPoint, crashAround } from './crash-point.js'
import { createDeviceCache } from './device-cache.js'
import { createGate, type Gate } from './gate.js'
import { createGroups } from './groups.js'
import { createInbox } from './inbox.js'
import { createKeyStore } from './key-store.js'
import type { BaileysLibrary } from './load.js'
import { createMediaConn } from './media-conn.js'
import { createMediaWire } from './media-wire.js'
import { createPairingCodes } from './pairing-code.js'
import { isGoodToken } from './privacy-tokens.js'
import { createPulse } from './pulse.js'
import { createQrLife } from './qr-life.js'
import { readSavedContacts } from './saved-contacts.js'
import { createSending } from './send.js'
import { durableSignalRepository } from './signal-repository.js'
import { type FrameNotice, silentLogger } from './silent-logger.js'
import { openSocket } from './socket.js'
import { readStanza } from './stanza.js'
import { createTeller } from './teller.js'
import { startWatchdog } from './watchdog.js'

export interface ConnectionSettings {
  readonly clock: Clock
  /** How long nothing may happen while connecting. */
  readonly connectWatchdogMs: number
  /** How long WhatsApp has to confirm that this device is removed. */
  readonly logoutMs: number
  /** How long the sender of what we cannot decrypt has for encrypting it again. */
  readonly healMs: number
  readonly crashPoint: CrashPoint | undefined
  /** For https to the media servers, where the system's trust is not enough. */
  readonly mediaAgent: Agent | undefined
  /** What differs between WhatsApp and a simulator: address, trust, pace. */
  readonly socket: Partial<UserFacingSocketConfig>
}

const QUERY_TIMEOUT_MS = 20_000
/** Before the login: whoever mistypes a pairing code should not have to wait until the library has given the first one up. */
const PAIRING_TIMEOUT_MS = 5_000

/** Throws UnreadableCredentials when the stored login cannot be read. */
export function openConnection(
  baileys: BaileysLibrary,
  options: ConnectOptions,
  settings: ConnectionSettings,
): Connection {
  const { journal, credentials, onEvent, findRaw } = options
  const { clock, connectWatchdogMs, logoutMs, healMs, crashPoint } = settings
  const { tell } = createTeller(onEvent)
  const devices = createDeviceCache(clock)
  let resolveOver: () => void
  const over = new Promise<void>((resolve) => {
    resolveOver = resolve
  })
  let isOver = false
  let ended: Closing | undefined
  let isOpen = false
  const beat = createPulse(clock, () => tell({ type: 'alive' }))
  const qrLifeMs = createQrLife()
  /** Why we are leaving by ourselves; what the library says of the same end counts less. */
  let parting: Closing | undefined

  const store = createKeyStore({
    baileys,
    credentials,
    journal,
    onIdentity: (identity) => tell({ type: 'identity', ...identity }),
    onToken: (by) => tell({ type: 'trusted', by }),
  })
  const inbox = createInbox({
    codec: baileys,
    me: store.me,
    lidOf: store.lidOf,
    phoneOf: store.phoneOf,
    tellWhenDurable: (event) => gate.afterDurable(() => tell(event)),
    tellNow: tell,
    onProgress: () => catchUp.progressed(),
    clock,
    healMs,
  })
  const catchUp = createCatchUp({
    isIdle: () => inbox.isIdle,
    unreadableCount: () => inbox.unhealedCount,
    tell: (event) => gate.afterDurable(() => tell(event)),
  })
  const groups = createGroups({
    library: () => library,
    clock,
    tell: (change) => tell({ type: 'group', change }),
    me: store.me,
    lidOf: store.lidOf,
    phoneOf: store.phoneOf,
  })
  const makeSignalRepository = durableSignalRepository({
    baileys,
    store,
    observer: inbox,
    findRaw,
    onLookupFailure: () => finish({ reason: 'NOT_DURABLE', detail: 'a stored message could not be looked up' }),
    clock,
    crashPoint,
  })
  const socket = openSocket({
    baileys,
    keys: store.keys,
    config: {
      ...socketConfig(options, settings),
      defaultQueryTimeoutMs: store.creds.account ? QUERY_TIMEOUT_MS : PAIRING_TIMEOUT_MS,
      logger: silentLogger(onNextFrame),
      auth: { creds: store.creds, keys: store.keys },
      makeSignalRepository,
      userDevicesCache: devices,
      cachedGroupMetadata: groups.remembered,
      getMessage: async ({ id }) => {
        const sent = id ? await options.findSent(id) : undefined
        return sent && (await sending.encode(sent)).message
      },
    },
    makeGate: (wire) =>
      createGate({
        journal,
        wire,
        onFailure: (reason) => finish({ reason, detail: 'what was held back could not be made durable' }),
        ...(crashPoint ? { onLabelled: crashAround(crashPoint) } : {}),
      }),
    onStanza,
    onFault: () => finish({ reason: 'CONNECTION_LOST', detail: 'a frame could not be read' }),
    onRefusedUpgrade: (httpStatus) => finish(readRefusedUpgrade(httpStatus)),
  })
  const { library } = socket
  const gate: Gate = socket.gate
  const sending = createSending({ baileys, library, gate, devices, groups, me: store.me, clock, tell, crashPoint })
  const pairing = createPairingCodes({
    baileys,
    library,
    creds: store.creds,
    answerTimeoutMs: PAIRING_TIMEOUT_MS,
  })
  const account = createAccount({ library, tell })
  const calls = createCalls({ library, tell, phoneOf: store.phoneOf, clock })
  const media = createMediaWire({
    baileys,
    library,
    conn: createMediaConn(library, { agent: settings.mediaAgent, clock }),
    clock,
  })
  const watchdog = startWatchdog(connectWatchdogMs, () =>
    finish({ reason: 'CONNECTION_LOST', detail: 'no progress while connecting' }),
  )
  library.ev.on('creds.update', ({ me }) => {
    store.saveCreds()
    if (isOpen) account.named(me?.name)
  })
  library.ev.on('connection.update', onUpdate)
  groups.listen(library.ev)
  library.ev.on('contacts.upsert', (contacts) => readSavedContacts(contacts).forEach(tell))

  function onNextFrame({ label, whatsappId }: FrameNotice): void {
    if (whatsappId) sending.noteFrame(whatsappId)
    if (crashPoint) gate.label(label)
  }

  function onStanza(stanza: BinaryNode): void {
    if (isOver) return
    if (!isOpen) watchdog.touch()
    beat()
    if (!store.creds.account) pairing.arrived(stanza)
    catchUp.arrived(stanza)
    if (stanza.tag === 'call') calls.arrived(stanza)
    if (stanza.tag === 'notification') account.arrived(stanza)
    if (stanza.tag === 'receipt' && stanza.attrs.type === 'retry') crashPoint?.('at-retry')
    const reading = readStanza(stanza, {
      me: store.me(),
      now: clock.now(),
      lidOf: store.lidOf,
      phoneOf: store.phoneOf,
    })
    if (reading.kind === 'message') inbox.arrived(stanza)
    if (reading.kind === 'answer') {
      // Before Baileys acknowledges it: the gate keeps that back until this is durable.
      for (const receipt of reading.answer.receipts ?? []) journal.append({ receipt })
      sending.answered(reading.answer)
    }
    if (reading.kind === 'success') tell({ type: 'loading' })
    if (reading.kind === 'unknown') tell({ type: 'unknown-stanza', tag: stanza.tag, detail: reading.detail })
  }

  function onUpdate({ qr, isNewLogin, connection, lastDisconnect }: Partial<ConnectionState>): void {
    if (qr) tellQr(qr)
    // The new login is in the journal; it is told when it cannot be lost any more.
    if (isNewLogin) gate.afterDurable(() => tell({ type: 'paired' }))
    if (connection === 'open') onOpen()
    if (connection === 'close') finish(parting ?? readClosing(lastDisconnect?.error))
  }

  function tellQr(code: string): void {
    // From here on a person takes their time; Baileys ends the session when its codes are used up.
    watchdog.stop()
    tell({ type: 'qr', code, expiresAt: new Date(clock.now() + qrLifeMs()) })
  }

  function onOpen(): void {
    watchdog.stop()
    isOpen = true
    const { waId = '', lid } = store.me()
    const pushName = store.creds.me?.name
    tell({ type: 'open', waId, ...(lid ? { lid } : {}), ...(pushName ? { pushName } : {}) })
    account.opened(store.me())
  }

  /** Until then the connection goes on as before: a device that WhatsApp still knows must not be forgotten by us. */
  async function confirmRemoval(jid: string): Promise<void> {
    if (!isOpen) throw new Error('not connected')
    await Promise.race([removeDevice(library, jid, logoutMs), over])
    // WhatsApp may cut the connection of a device that it has removed before its answer is read.
    if (isOver && ended?.reason !== 'LOGOUT') throw new Error('the connection ended before WhatsApp answered')
  }

  function finish({ reason, detail }: Closing): void {
    if (isOver) return
    isOver = true
    ended = { reason, detail }
    isOpen = false
    watchdog.stop()
    gate.shut()
    store.seal()
    inbox.close()
    sending.giveAll()
    socket.cut()
    tell({ type: 'close', reason, detail })
    resolveOver()
  }

  /** Baileys may never answer once the connection is over. */
  async function whileOpen<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    if (!isOpen) throw new Error('not connected')
    return Promise.race([question(), over.then(() => Promise.reject(new Error('closed')))])
  }

  return {
    async send(message, sendOptions) {
      if (!isOpen || parting) throw new SendError('not_connected', { sent: 'no' })
      return sending.send(message, sendOptions)
    },
    uploadMedia: (file, { signal }) => whileOpen(() => media.upload(file, signal)),
    downloadMedia: (source, { signal }) => media.download(source, signal),
    checkNumber: async (waId) => (await whileOpen(() => sending.checkNumbers([waId])))[0] ?? { exists: false },
    checkNumbers: (waIds) => whileOpen(() => sending.checkNumbers(waIds)),
    async pairingCode(waId) {
      if (isOver || store.creds.account) throw new Error('not waiting to be paired')
      return Promise.race([pairing.request(waId), over.then(() => Promise.reject(new Error('closed')))])
    },
    async setBlocked(person, blocked) {
      if (!isOpen) throw new Error('not connected')
      const changed = account.setBlocked(person, blocked)
      await Promise.race([changed, over.then(() => Promise.reject(new Error('closed')))])
    },
    async restriction() {
      if (!isOpen) throw new Error('not connected')
      const { isActive, timeEnforcementEnds } = await library.fetchAccountReachoutTimelock()
      if (!isActive) return { active: false }
      return timeEnforcementEnds ? { active: true, until: timeEnforcementEnds } : { active: true }
    },
    isTrustedBy: (person) => library.serverProps.privacyTokenOn1to1 && isGoodToken(store.tokenOf(person), clock.now()),
    async rejectCall(callId) {
      if (!isOpen) throw new Error('not connected')
      await Promise.race([calls.reject(callId), over.then(() => Promise.reject(new Error('closed')))])
    },
    markRead: (chat, marks) => whileOpen(() => markRead(library, chat, marks)),
    showActivity: (chat, activity) => whileOpen(() => showActivity(library, chat, activity)),
    showPresence: (presence) => whileOpen(() => library.sendPresenceUpdate(presence)),
    groups,
    async logout() {
      const jid = store.creds.me?.id
      if (jid) await confirmRemoval(jid)
      finish({ reason: 'LOGOUT', detail: 'logged out by us' })
    },
    async close() {
      parting ??= { reason: 'CLOSED', detail: 'closed by us' }
      await Promise.race([gate.drained(), over])
      // What is journaled and waits for no frame is worth a flush; a journal that cannot has said so to its owner.
      await journal.whenDurable(journal.tail).catch(() => undefined)
      if (!isOver) await socket.leave()
      finish(parting)
    },
    terminate: (reason) => finish({ reason, detail: 'cut by us' }),
  }
}

/** Asks WhatsApp to forget this device. Rejects when it does not confirm. */
async function removeDevice(library: WASocket, jid: string, timeoutMs: number): Promise<void> {
  const remove = { tag: 'remove-companion-device', attrs: { jid, reason: 'user_initiated' } }
  const iq = { tag: 'iq', attrs: { to: '@s.whatsapp.net', type: 'set', xmlns: 'md' }, content: [remove] }
  await library.query(iq, timeoutMs)
}

function socketConfig(
  { displayName }: ConnectOptions,
  { socket }: ConnectionSettings,
): Omit<UserFacingSocketConfig, 'auth'> {
  // Known to the library's code, but not to its types.
  const pushName: object = { pushName: displayName }
  return {
    ...socket,
    ...pushName,
    browser: [displayName, 'Chrome', ''],
    emitOwnEvents: false,
    markOnlineOnConnect: false,
    syncFullHistory: false,
    // The watchdog sees to connecting. Here it would also put a timer, and two stack traces, on every frame that is sent.
    connectTimeoutMs: 0,
  }
}
