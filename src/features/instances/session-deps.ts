/** What a session needs from its process. */
import type { Clock } from '../../kernel/clock.js'
import type { IdGenerator, InstanceId, TenantId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { Database, Tx } from '../../platform/database/database.js'
import type { Provider, SentMessage } from '../../platform/whatsapp/whatsapp.js'
import type { DataKeys } from '../tenants/data-keys.js'
import type { WatchTimes } from './connection-watch.js'
import { defaultHealthPolicy } from './health.js'
import type { JournalWriter } from './journal.js'
import type { ReconnectPolicy } from './reconnect-policy.js'
import type { SessionAttachment } from './session-attachment.js'

export interface SessionDeps {
  readonly db: Database
  /** Who holds the instances of this process: for the trace. */
  readonly replica?: string | undefined
  readonly dataKeys: DataKeys
  readonly journals: JournalWriter
  /** By the name in the instance's row. */
  readonly providers: ReadonlyMap<string, Provider>
  /** In this order. */
  readonly attachments: readonly SessionAttachment[]
  readonly findSent: (
    tenantId: TenantId,
    instanceId: InstanceId,
    whatsappId: string,
  ) => Promise<SentMessage | undefined>
  readonly clock: Clock
  readonly random: Random
  readonly ids: IdGenerator
  readonly logger: Logger
  readonly times: SessionTimes
  readonly reconnectPolicy: ReconnectPolicy
  /** Called again in the transaction that purges a deleted instance. */
  readonly onDeleted?: OnDeleted
}

/** Ends what others keep for a deleted instance. Its locks come after the instance's row and before the event counters. */
export type OnDeleted = (tx: Tx, tenantId: TenantId, instanceId: InstanceId) => Promise<void>

export interface SessionTimes extends WatchTimes {
  /** How long attachments may take to finish their work before a close in peace. */
  readonly closingMs: number
  /** A provider that was told to end and does not say `close` within this is taken for ended. */
  readonly closeGraceMs: number
}

export const defaultSessionTimes: SessionTimes = {
  health: defaultHealthPolicy,
  qrSessionMs: 120_000,
  stableAfterMs: 60_000,
  closingMs: 10_000,
  closeGraceMs: 10_000,
}
