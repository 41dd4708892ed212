/**
 * The model's WhatsApp: kicks the older connection of a number, and takes frames from anybody, since bytes of a kicked
 * connection may have been under way for any time.
 */
import type { Lease, Resource } from '../lease.js'
import type { ModelProcess } from './model-process.js'
import type { ModelSession } from './model-session.js'
import type { ModelStorage, VaultState } from './model-storage.js'

export interface ModelWire {
  connect(process: ModelProcess, session: ModelSession): void
  send(lease: Lease, state: VaultState): void
  /** Resources for which the current holder has sent a frame since `forget`. */
  readonly served: ReadonlySet<Resource>
  forget(): void
}

const KICK_MS = 2

export function createModelWire(storage: ModelStorage): ModelWire {
  const connected = new Map<Resource, { process: ModelProcess; session: ModelSession }>()
  const served = new Set<Resource>()

  return {
    connect(process, session) {
      const { resource } = session.lease
      const older = connected.get(resource)
      connected.set(resource, { process, session })
      if (older && older.session !== session) older.process.after(KICK_MS, () => void older.session.replaced())
    },
    send(lease, { generation, counter }) {
      const { resource } = lease
      // Another pairing: WhatsApp no longer knows these keys.
      if (generation !== storage.read(resource).generation) return
      storage.ledger.sent({ resource, generation, counter })
      if (storage.isCurrent(lease)) served.add(resource)
    },
    served,
    forget: () => served.clear(),
  }
}
