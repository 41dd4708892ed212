/** What supervisor and child say to each other over the IPC channel; structured clones, so that buffers and lists pass. */
import type { Config } from './config.js'
import type { ProcessPlan } from './roles.js'

/** What to run; sent when the database is ready. The child has loaded its code meanwhile. */
export interface Start {
  readonly type: 'start'
  readonly config: Config
  readonly plan: ProcessPlan
}

export type ToChild =
  | Start
  /** Drain, release, close, exit 0. */
  | { readonly type: 'stop' }

export type FromChild =
  | { readonly type: 'ready'; readonly url?: string }
  /** It could not start and exits. `final`: another try would end the same way, a person has to act. */
  | { readonly type: 'failed'; readonly message: string; readonly final: boolean }
