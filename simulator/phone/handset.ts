import type { proto } from 'baileys'
import type { KeyPair } from '../wire/curve.js'
import type { Delivery } from '../world/offline-queue.js'
import type { Seeded } from '../world/seeded.js'
import type { Companion } from '../world/world.js'
import type { Chat } from './chat.js'
import { createInbox, type Inbox } from './inbox.js'
import { createRatchetLedger, type RatchetLedger } from './ratchet-ledger.js'
import { createSimulatedDevice, type SimulatedDevice } from './simulated-device.js'

/** A person's telephone: device 0, what it has read, what it has sent. */
export type Handset = {
  readonly device: SimulatedDevice
  /** Whether anybody has needed its keys yet. */
  readonly hasKeys: boolean
  readonly ledger: RatchetLedger
  readonly inbox: Inbox
  /** What the owner wrote on a companion and the phone got a copy of. */
  readonly copies: Inbox
  readonly sent: Map<string, SentMessage>
  /** The last times somebody was seen typing. */
  readonly typing: Typing[]
  /** Numbers given to texts that were sent by count, per chat. */
  readonly numbering: Map<string, number>
  readonly retriesAsked: Map<string, number>
  /** Who has the key this phone writes to a group with. */
  readonly groupKeys: Map<string, GroupKey>
  /** Ids this phone has drawn so far. */
  drawn: number
  /** One thing at a time, in order; a failure does not stop the next. */
  run<T>(work: () => Promise<T>): Promise<T>
}

export type Typing = {
  readonly from: string
  readonly group: string | null
  readonly state: string
  readonly at: number
}

/** Holders of a sender key, which lasts until somebody leaves the group. */
export type GroupKey = { readonly departures: number; readonly holders: Set<Companion> }

export type SentMessage = {
  readonly id: string
  /** The number of the other one, or the jid of the group or broadcast. */
  readonly to: string
  readonly chat: Chat
  readonly text: string
  readonly content: proto.IMessage
  readonly at: number
  readonly copies: Map<Companion, SentCopy>
}

/** The state of a message at one companion of its readers. */
export type SentCopy = {
  readonly deliveries: Delivery[]
  deliveredAt: number | null
  readAt: number | null
  retries: number
  receipts: number
}

export function createHandset(options: { seeded: Seeded; phone: string; identity: KeyPair }): Handset {
  let last: Promise<unknown> = Promise.resolve()
  let device: SimulatedDevice | null = null
  return {
    get device() {
      // Its keys cost a signature, and most members of a large group only read what other phones wrote.
      device ??= createSimulatedDevice(options)
      return device
    },
    get hasKeys() {
      return device !== null
    },
    ledger: createRatchetLedger(),
    inbox: createInbox(),
    copies: createInbox(),
    sent: new Map(),
    typing: [],
    numbering: new Map(),
    retriesAsked: new Map(),
    groupKeys: new Map(),
    drawn: 0,
    run(work) {
      const done = last.then(work)
      last = done.catch(() => undefined)
      return done
    },
  }
}
