/** What carries a plan of roles: a child process that is kept alive (child-keeper.ts), or this process (local-runner.ts). */
import type { Start } from './child-protocol.js'

export interface Runner {
  /** Begins to load the code, so that it is there when the database is. */
  launch(): void
  /** Tells what to run; a process that is started again later runs the same. Told anew, it begins anew. */
  begin(start: Start): void
  /** Asks it to stop and resolves when nothing of it runs any more; by force after `graceMs`. */
  stop(graceMs: number): Promise<void>
  /** Ends it now. */
  kill(): void
}

export interface RunnerHooks {
  /** It serves; again after each restart. `url` is of the HTTP API, where it has that role. */
  readonly onReady: (url: string | undefined) => void
  /** It says that starting it again is useless: a person has to act. */
  readonly onFinal: (message: string) => void
}

/** Starts the roles of the plan. `signal` ends what waits; when it is aborted, nothing may be left running. */
export type RunRoles = (start: Start, signal: AbortSignal) => Promise<RunningRoles>

export interface RunningRoles {
  readonly url: string | undefined
  stop(): Promise<void>
}
