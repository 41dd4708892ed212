import { decodePatches, encodeSyncdPatch, newLTHashState, proto, type WAPatchCreate } from 'baileys'
import { announceAppState } from '../router/announce-app-state.js'
import type { Simulation } from '../simulation.js'
import { lidJid, pnJid } from '../wire/jid.js'
import type { CollectionName } from '../world/app-state.js'
import type { Person } from '../world/world.js'
import { handsetOf } from './handset-of.js'

/** The key all companions of an account seal its app state with; the phone shares it when they are linked. */
export function appStateKeyOf(sim: Simulation, { phone }: Person): proto.Message.IAppStateSyncKey {
  const fingerprint = { rawId: sim.seeded.integer(`raw-id/${phone}`, 2 ** 31), currentIndex: 0, deviceIndexes: [0] }
  return {
    keyId: { keyId: sim.seeded.bytes(`app-state-key-id/${phone}`, 6) },
    keyData: { keyData: sim.seeded.bytes(`app-state-key/${phone}`, 32), fingerprint, timestamp: sim.seconds() },
  }
}

export type AppStateAction = {
  readonly collection: CollectionName
  /** Such as `['contact', jid]`. */
  readonly index: readonly string[]
  readonly action: proto.ISyncActionValue
  readonly apiVersion: number
}

/** The owner changes something on the phone that companions share: a contact's name, an archived chat. */
export async function writeAppState(sim: Simulation, person: Person, change: AppStateAction): Promise<number> {
  const { collection, index, action, apiVersion } = change
  const state = sim.appStateOf(person)
  await handsetOf(sim, person).run(async () => {
    const patchCreate: WAPatchCreate = {
      type: collection,
      index: [...index],
      syncAction: { timestamp: Math.floor(sim.now()), ...action },
      apiVersion,
      operation: proto.SyncdMutation.SyncdOperation.SET,
    }
    const { keyId, getKey } = keysOf(sim, person)
    const before = (await decoded(sim, person, collection)).state
    const { patch } = await encodeSyncdPatch(patchCreate, keyId, before, getKey)
    if (!state.append(collection, proto.SyncdPatch.encode(patch).finish(), before.version)) {
      throw new Error(`${collection} changed while the phone wrote it`)
    }
  })
  announceAppState(sim, person, collection)
  return state.version(collection)
}

/** The owner gives a contact a name in the phone's address book. */
export function renameContact(sim: Simulation, person: Person, contact: Person, name: string): Promise<number> {
  const contactAction = {
    fullName: name,
    firstName: name.split(' ')[0] ?? name,
    lidJid: lidJid(contact.lid),
    saveOnPrimaryAddressbook: true,
  }
  const index = ['contact', pnJid(contact.phone)]
  return writeAppState(sim, person, {
    collection: 'critical_unblock_low',
    index,
    action: { contactAction },
    apiVersion: 2,
  })
}

/** What stands in a collection, whoever wrote it. */
export async function readAppState(sim: Simulation, person: Person, collection: CollectionName) {
  const { state, mutationMap } = await decoded(sim, person, collection)
  return {
    version: state.version,
    actions: Object.values(mutationMap).map(({ index, syncAction }) => ({ index, action: syncAction.value })),
  }
}

function decoded(sim: Simulation, person: Person, collection: CollectionName) {
  const patches = sim
    .appStateOf(person)
    .since(collection, 0)
    .map((patch) => proto.SyncdPatch.decode(patch))
  return decodePatches(collection, patches, newLTHashState(), keysOf(sim, person).getKey, {})
}

function keysOf(sim: Simulation, person: Person) {
  const { keyId, keyData } = appStateKeyOf(sim, person)
  const known = Buffer.from(keyId?.keyId ?? []).toString('base64')
  return { keyId: known, getKey: async (id: string) => (id === known ? keyData : undefined) }
}
