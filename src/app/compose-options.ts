/** What compose is told besides the configuration. */
import type { JournalWriter } from '../features/instances/journal.js'
import type { ReconnectPolicy } from '../features/instances/reconnect-policy.js'
import type { Logger } from '../kernel/logger.js'
import type { Egress } from '../platform/egress/http-client.js'
import type { LeaseKeeperOptions } from '../platform/leases/lease-keeper.js'
import type { Provider } from '../platform/whatsapp/whatsapp.js'
import type { Role } from './roles.js'

/** Parts that a test or a benchmark may put in place of the product's: its controls are adapters, not options. */
export interface Adapters {
  readonly provider: (real: Provider) => Provider
  readonly journals: (real: JournalWriter) => JournalWriter
  readonly egress: (real: Egress) => Egress
  readonly leases: (real: Leases) => Leases
  readonly reconnectPolicy: ReconnectPolicy
  /** Messages accepted by one commit at most. */
  readonly maxAcceptBatch: number
  /** Called at the named crash points. */
  readonly crashPoint: (name: string) => void
}

/** How the process comes by its leases, and how it makes the tokens of those that it takes. */
export type Leases = Pick<LeaseKeeperOptions, 'store' | 'holder' | 'terms' | 'newToken'>

export interface ComposeOptions {
  readonly roles: ReadonlySet<Role>
  /** Tells processes of one role on a replica apart. */
  readonly slot: number
  readonly logger: Logger
  readonly overrides?: Partial<Adapters>
}
