import { createContacts, type NewContacts, sendTexts, type Texts } from './admin/contacts.js'
import { groupView } from './admin/group-routes.js'
import { sendDraft } from './admin/send-draft.js'
import { type Expected, judge, type Verdict } from './admin/verdict.js'
import { inboxView, sentView } from './admin/views.js'
import { enterCode } from './auth/pairing-code.js'
import { type ScanFailure, type ScanResult, scanQr } from './auth/register.js'
import { applyFault } from './faults/apply-fault.js'
import { removeCompanion } from './faults/break-connection.js'
import type { ActiveFault, FaultRule } from './faults/rules.js'
import { setBlocked } from './iq/blocklist.js'
import type { MediaBehaviour } from './media/media-store.js'
import type { Chat } from './phone/chat.js'
import type { Draft } from './phone/compose.js'
import { quietLibsignal } from './phone/quiet-libsignal.js'
import { giveReceipt, type ReceiptType } from './phone/read-message.js'
import { keepSessionsUnspoiled } from './phone/unspoiled-sessions.js'
import { resendFreshly } from './phone/write-message.js'
import { type Call, hangUp, ring } from './router/calls.js'
import { type Changed, changeMembers, createGroup } from './router/change-group.js'
import { type PresenceState, showPresence } from './router/presence.js'
import { startServer } from './server.js'
import { createSimulation, type DecryptMode, type Simulation, type Stats } from './simulation.js'
import type { Addressing } from './wire/jid.js'
import type { StanzaTrace } from './wire/stanza-trace.js'
import { createTlsIdentity } from './wire/tls-certificate.js'
import type { Group, MemberChange } from './world/groups.js'
import type { Person, World } from './world/world.js'

export type SimulatorOptions = {
  /** 0 takes a free port. */
  readonly port?: number
  readonly host?: string
  /** Decides all keys and names the simulator invents, the root key among them. */
  readonly seed?: number
  /** Every stanza to a client leaves so much later. */
  readonly latencyMs?: number
  readonly clock?: () => number
  /** Whether the phone shares app-state key and an empty history at the first login. */
  readonly initialSync?: boolean
  readonly decrypt?: DecryptMode
  /** Unknown questions get an error instead of an empty result. */
  readonly strict?: boolean
  /** Host and port under which clients reach the media; the simulator's own by default. */
  readonly mediaHost?: string
  /** Entries of the stanza trace that are kept. */
  readonly traceLimit?: number
  /** Id or subject of a group that contains every client. */
  readonly testGroup?: string
}

export type Simulator = {
  readonly port: number
  readonly wsUrl: string
  readonly httpUrl: string
  readonly rootPublicKeyHex: string
  /** The certificate that clients of the media (and of `wss:`) must trust. */
  readonly caPem: string
  /** The same port with TLS. */
  readonly wssUrl: string
  readonly media: MediaSwitches
  readonly world: World
  readonly phones: Phones
  readonly groups: GroupSwitches
  readonly faults: FaultSwitches
  readonly trace: StanzaTrace
  /** Questions of clients nobody here could answer. */
  readonly unknown: Simulation['unknown']
  /** What failed in the background; empty when all is well. */
  readonly problems: Simulation['problems']
  stats(): Stats
  verdict(account?: string, expected?: Expected): Verdict
  reset(): void
  stop(): Promise<void>
}

/** What the people behind the telephones do. */
export type Phones = {
  scanQr(text: string, phone?: string): ScanResult | ScanFailure
  /** The owner of the number types a pairing code. */
  enterCode(phone: string, code: string): Promise<ScanResult | ScanFailure>
  createContacts(wanted: NewContacts): Person[]
  send(from: string, to: string, text: string, more?: Pick<Texts, 'id' | 'count' | 'ratePerSecond'>): Promise<string[]>
  /** Says anything a phone can say; the account's owner may be the author. Resolves with the id. */
  write(from: string, to: Destination, draft: Draft): Promise<string>
  inbox(phone: string): ReturnType<typeof inboxView>
  /** What the owner wrote on companions, as the own phone has it. */
  copies(phone: string): ReturnType<typeof inboxView>
  /** On demand, whatever the contact's habits are. */
  giveReceipts(phone: string, ids: readonly string[], type: ReceiptType): void
  sent(phone: string): ReturnType<typeof sentView>
  /** Rings until it is rejected, or for 45 s. The result changes as the call goes on. */
  call(from: string, to: string, video?: boolean): Readonly<Call>
  hangUp(callId: string): void
  /** The owner blocks somebody on the phone, or no longer does. */
  block(account: string, contact: string, blocked?: boolean): void
  showPresence(from: string, to: string, state: PresenceState): void
  showTyping(from: string, group: string, state: 'composing' | 'recording' | 'paused'): void
  /** Removes one companion, or all of them. */
  logout(account: string, device?: number): void
}

export type Destination = { readonly to: string } | { readonly group: string } | { readonly status: readonly string[] }

export type MediaSwitches = {
  readonly behaviour: MediaBehaviour
  /** The file of this message is gone from the media host (410, or another status). */
  expire(messageId: string, status?: number): number
}

export type GroupSwitches = {
  /** A group somebody makes on a phone. */
  create(wanted: {
    subject: string
    creator: string
    members: readonly string[]
    addressing?: Addressing
    id?: string
  }): GroupView
  /** Done by the creator. */
  change(group: string, change: MemberChange, phones: readonly string[]): Changed[]
  view(group: string): GroupView | null
}

type GroupView = ReturnType<typeof groupView>

export type FaultSwitches = {
  add(rule: FaultRule): ReturnType<typeof applyFault>
  list(): ActiveFault[]
  remove(faultId: string): boolean
  clear(): void
}

const DEFAULT_TRACE_LIMIT = 200_000

/** A WhatsApp of one's own, in this process. Several may run beside each other. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  quietLibsignal()
  keepSessionsUnspoiled()
  const host = options.host ?? '127.0.0.1'
  const sim = createSimulation({
    seed: options.seed ?? 1,
    latencyMs: options.latencyMs ?? 0,
    clock: options.clock ?? (() => performance.timeOrigin + performance.now()),
    initialSync: options.initialSync ?? true,
    decrypt: options.decrypt ?? 'all',
    strict: options.strict ?? false,
    traceLimit: options.traceLimit ?? DEFAULT_TRACE_LIMIT,
    testGroup: options.testGroup ?? null,
  })
  sim.reencrypt = (author, companion, id) => resendFreshly(sim, author, companion, id)
  const tls = createTlsIdentity(sim.seeded, [
    ...new Set(['127.0.0.1', 'localhost', ...namesFrom(host, options.mediaHost)]),
  ])
  const server = await startServer(sim, { host, port: options.port ?? 0, tls })
  sim.mediaHost = options.mediaHost ?? `${host === '0.0.0.0' ? '127.0.0.1' : host}:${server.port}`
  return {
    port: server.port,
    wsUrl: `ws://${host}:${server.port}/ws/chat`,
    wssUrl: `wss://${host}:${server.port}/ws/chat`,
    caPem: tls.cert,
    httpUrl: `http://${host}:${server.port}`,
    rootPublicKeyHex: sim.pki.rootPublicKeyHex,
    world: sim.world,
    phones: createPhones(sim),
    groups: createGroupSwitches(sim),
    media: {
      behaviour: sim.media.behaviour,
      expire: (id, status) => sim.media.expire(status ?? 410, sim.media.remembered(id)?.directPath ?? ''),
    },
    faults: {
      add: (rule) => applyFault(sim, rule),
      list: () => sim.faults.list(),
      remove: (faultId) => sim.faults.remove(faultId),
      clear: () => sim.faults.clear(),
    },
    trace: sim.trace,
    unknown: sim.unknown,
    problems: sim.problems,
    stats: () => ({ ...sim.stats }),
    verdict: (account, expected) => judge(sim, account ? existing(sim, account) : undefined, expected),
    reset: () => sim.reset(),
    stop: () => server.stop(),
  }
}

/** The names a certificate must have beside those of this machine. */
function namesFrom(host: string, mediaHost: string | undefined): string[] {
  return [host, ...(mediaHost ? [mediaHost.replace(/:\d+$/, '')] : [])].filter((name) => name !== '0.0.0.0')
}

function createPhones(sim: Simulation): Phones {
  return {
    scanQr: (text, phone) => scanQr(sim, text, phone),
    enterCode: (phone, code) => enterCode(sim, phone, code),
    createContacts: (wanted) => createContacts(sim, wanted),
    send: (from, to, text, more) => sendTexts(sim, existing(sim, from), { account: existing(sim, to), text, ...more }),
    write: (from, to, draft) => sendDraft(sim, { author: existing(sim, from), chat: chatTo(sim, to), draft }),
    inbox: (phone) => inboxView(sim.world, existing(sim, phone)),
    copies: (phone) => inboxView(sim.world, existing(sim, phone), {}, 'copies'),
    giveReceipts(phone, ids, type) {
      for (const id of ids) if (!giveReceipt(sim, existing(sim, phone), id, type)) throw new Error(`no message ${id}`)
    },
    sent: (phone) => sentView(existing(sim, phone)),
    call: (from, to, video = false) => ring(sim, existing(sim, from), existing(sim, to), video),
    hangUp(callId) {
      const call = sim.calls.get(callId)
      if (call) hangUp(sim, call)
    },
    block: (account, contact, blocked = true) =>
      setBlocked(sim, existing(sim, account), existing(sim, contact), blocked),
    showPresence: (from, to, state) => showPresence(sim, existing(sim, from), existing(sim, to), state),
    showTyping: (from, group, state) => showPresence(sim, existing(sim, from), existingGroup(sim, group), state),
    logout(account, device) {
      for (const companion of existing(sim, account).companions.values()) {
        if (device === undefined || companion.device === device) removeCompanion(sim, companion)
      }
    },
  }
}

function createGroupSwitches(sim: Simulation): GroupSwitches {
  const people = (phones: readonly string[]) => phones.map((phone) => existing(sim, phone))
  return {
    create({ creator, members, ...wanted }) {
      return groupView(createGroup(sim, { ...wanted, creator: existing(sim, creator), people: people(members) }))
    },
    change(id, change, phones) {
      const group = existingGroup(sim, id)
      return changeMembers(sim, { group, actor: group.creator, people: people(phones), change })
    },
    view(id) {
      const group = sim.world.groups.find(id)
      return group ? groupView(group) : null
    },
  }
}

function chatTo(sim: Simulation, to: Destination): Chat {
  if ('to' in to) return { kind: 'direct', person: existing(sim, to.to) }
  if ('status' in to) return { kind: 'status', audience: to.status.map((phone) => existing(sim, phone)) }
  return { kind: 'group', group: existingGroup(sim, to.group) }
}

function existingGroup(sim: Simulation, id: string): Group {
  const group = sim.world.groups.find(id)
  if (!group) throw new Error(`there is no group ${id}`)
  return group
}

function existing(sim: Simulation, phone: string): Person {
  const person = sim.world.find(phone)
  if (!person) throw new Error(`${phone} is not on WhatsApp`)
  return person
}
