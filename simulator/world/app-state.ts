import { proto } from 'baileys'

export const COLLECTIONS = ['critical_block', 'critical_unblock_low', 'regular_high', 'regular_low', 'regular'] as const

export type CollectionName = (typeof COLLECTIONS)[number]

/** What the server keeps of an account's app state: patches it cannot read, in the order they were accepted. */
export type AppState = {
  version(name: string): number
  /** Patches after this version, oldest first. */
  since(name: string, version: number): Uint8Array[]
  /** False when somebody else was faster: a patch is made for one version and fits no other. */
  append(name: string, patch: Uint8Array, onVersion: number): boolean
}

export function createAppState(): AppState {
  const collections = new Map<string, Uint8Array[]>()
  const patchesOf = (name: string) => {
    const known = collections.get(name) ?? []
    collections.set(name, known)
    return known
  }
  return {
    version: (name) => patchesOf(name).length,
    since: (name, version) => patchesOf(name).slice(version),
    append(name, patch, onVersion) {
      const patches = patchesOf(name)
      if (onVersion !== patches.length) return false
      const accepted = proto.SyncdPatch.decode(patch)
      accepted.version = { version: patches.length + 1 }
      patches.push(proto.SyncdPatch.encode(accepted).finish())
      return true
    },
  }
}
