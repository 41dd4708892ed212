/** What compose is told besides the configuration. */
import type { JournalWriter } from '../features/instances/journal.js'
import type { Logger } from '../kernel/logger.js'
import type { Egress } from '../platform/egress/http-client.js'
import type { Provider } from '../platform/whatsapp/whatsapp.js'
import type { Role } from './roles.js'

/** Parts that a test or a benchmark may put in place of the product's: its controls are adapters, not options. */
export interface Adapters {
  readonly provider: (real: Provider) => Provider
  readonly journals: (real: JournalWriter) => JournalWriter
  readonly egress: (real: Egress) => Egress
  /** Messages accepted by one commit at most. */
  readonly maxAcceptBatch: number
  /** Called at the named crash points. */
  readonly crashPoint: (name: string) => void
}

export interface ComposeOptions {
  readonly roles: ReadonlySet<Role>
  /** Tells processes of one role on a replica apart. */
  readonly slot: number
  readonly logger: Logger
  readonly overrides?: Partial<Adapters>
}
