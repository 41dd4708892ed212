import type { Handset } from '../phone/handset.js'
import type { Connection } from '../wire/connection.js'
import { type KeyPair, keyPairFrom } from '../wire/curve.js'
import type { Addressing } from '../wire/jid.js'
import { createGroups, type Groups } from './groups.js'
import { createOfflineQueue, type OfflineQueue } from './offline-queue.js'
import type { PreKey, SignedPreKey } from './prekeys.js'
import type { PrivacyToken } from './privacy-tokens.js'
import { digitsFromText, type Seeded } from './seeded.js'

/** Somebody with a telephone. A person with companions is an account; every other one is a contact. */
export type Person = {
  readonly phone: string
  readonly lid: string
  readonly identity: KeyPair
  name: string
  /** True from the first scanned QR on, even when all companions are removed. */
  isAccount: boolean
  readonly companions: Map<number, Companion>
  nextDeviceId: number
  readonly habits: Habits
  /** Numbers of those whose messages and calls do not come through. */
  readonly blocked: Set<string>
  /** Who may see what of it, by the setting's name; what is missing is for all. */
  readonly privacy: Map<string, string>
  /** By the number of whoever gave it. */
  readonly tokensFrom: Map<string, PrivacyToken>
  /** Until then its messages to people of whom it has no token are refused with 463; milliseconds since the epoch. */
  restrictedUntil: number
  /** The address of the profile picture. */
  picture: string | null
  /** Device 0. Made when it first needs keys: a hundred thousand contacts cost nothing until somebody writes to them. */
  handset: Handset | null
  readonly counts: { logins: number; connections: number }
}

export type ReceiptHabit = 'none' | 'delivered' | 'read'

export type Habits = {
  autoReply: string | false
  receipts: ReceiptHabit
  readDelayMs: number
  /** Whether this person's messages arrive from its number or from its lid. */
  addressing: Addressing
  /** Writing from its lid, it does not show its number: who does not know it by then cannot. */
  hidesNumber: boolean
  /** Shown in groups, and to whoever asks about its number. */
  username: string | null
  /** Whether nobody may put this person into a group without being asked. */
  refusesGroups: boolean
  /** Whether its phone gives privacy tokens to those it writes to. */
  givesTokens: boolean
}

export type Companion = {
  readonly person: Person
  readonly device: number
  readonly keyIndex: number
  readonly noiseKey: Buffer
  readonly registrationId: number
  readonly identity: Buffer
  signedPreKey: SignedPreKey
  readonly preKeys: PreKey[]
  /** The signed device identity, as the companion returned it: handed out with its bundle. */
  signedIdentity: Buffer | null
  readonly queue: OfflineQueue
  readonly subscriptions: Set<string>
  connection: Connection | null
  hasBootstrapped: boolean
}

export type World = {
  readonly people: ReadonlyMap<string, Person>
  readonly groups: Groups
  /** The person of this number, created when new. */
  person(phone: string, name?: string): Person
  find(phone: string): Person | undefined
  findByJidUser(user: string): Person | undefined
  /** A Brazilian mobile with or without its ninth digit. */
  findByAnySpelling(phone: string): Person | undefined
  /** Free numbers for contacts that were asked for by count alone. */
  freePhones(count: number, prefix?: string): string[]
  addCompanion(person: Person, keys: CompanionKeys): Companion
  clear(): void
}

export type CompanionKeys = Pick<Companion, 'noiseKey' | 'registrationId' | 'identity' | 'signedPreKey'>

const CONTACT_PREFIX = '55119'
const PHONE_LENGTH = 13

export function createWorld(seeded: Seeded): World {
  const people = new Map<string, Person>()
  const byLid = new Map<string, Person>()
  const groups = createGroups(seeded)

  const freeLid = (phone: string): string => {
    for (let attempt = 0; ; attempt++) {
      const lid = `1${seeded.digits(`lid/${phone}/${attempt}`, 14)}`
      if (!byLid.has(lid)) return lid
    }
  }
  const create = (phone: string, name: string): Person => {
    const lid = freeLid(phone)
    const person = newPerson({ phone, lid, name, identity: keyPairFrom(seeded.bytes(`identity/${phone}`, 32)) })
    people.set(phone, person)
    byLid.set(lid, person)
    return person
  }

  return {
    people,
    groups,
    person(phone, name) {
      const known = people.get(phone)
      if (known && name) known.name = name
      return known ?? create(phone, name ?? `Contact ${phone.slice(-4)}`)
    },
    find: (phone) => people.get(phone),
    findByJidUser: (user) => people.get(user) ?? byLid.get(user),
    findByAnySpelling: (phone) => people.get(phone) ?? people.get(otherSpelling(phone)),
    freePhones(count, prefix = CONTACT_PREFIX) {
      const phones: string[] = []
      for (let n = 1; phones.length < count; n++) {
        const phone = prefix + String(n).padStart(PHONE_LENGTH - prefix.length, '0')
        if (!people.has(phone)) phones.push(phone)
      }
      return phones
    },
    addCompanion(person, keys) {
      const device = person.nextDeviceId++
      const companion = newCompanion(person, device, keys)
      person.isAccount = true
      person.companions.set(device, companion)
      return companion
    },
    clear() {
      people.clear()
      byLid.clear()
      groups.clear()
    },
  }
}

/** The number of a client that was not opened for a known one: the same name has the same number in every run. */
export function phoneFromName(name: string): string {
  return `55119${digitsFromText(name, 8)}`
}

function otherSpelling(phone: string): string {
  const shorter = phone.replace(/^(55\d{2})9([6-9]\d{7})$/, '$1$2')
  return shorter === phone ? phone.replace(/^(55\d{2})([6-9]\d{7})$/, '$19$2') : shorter
}

function newPerson(given: Pick<Person, 'phone' | 'lid' | 'name' | 'identity'>): Person {
  return {
    ...given,
    isAccount: false,
    companions: new Map(),
    nextDeviceId: 1,
    habits: {
      autoReply: false,
      receipts: 'delivered',
      readDelayMs: 0,
      addressing: 'pn',
      hidesNumber: false,
      username: null,
      refusesGroups: false,
      givesTokens: true,
    },
    blocked: new Set(),
    privacy: new Map(),
    tokensFrom: new Map(),
    picture: null,
    restrictedUntil: 0,
    handset: null,
    counts: { logins: 0, connections: 0 },
  }
}

function newCompanion(person: Person, device: number, keys: CompanionKeys): Companion {
  return {
    ...keys,
    person,
    device,
    keyIndex: device,
    preKeys: [],
    signedIdentity: null,
    queue: createOfflineQueue(),
    subscriptions: new Set(),
    connection: null,
    hasBootstrapped: false,
  }
}
