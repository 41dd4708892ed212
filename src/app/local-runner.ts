/** All roles in this process: `--single`. What a supervisor of processes gives (a restart after a crash) is not to be had. */

import type { Runner, RunnerHooks, RunningRoles, RunRoles } from './runner.js'
import { startFailure } from './start-failure.js'

/** `load` is called early, what it resolves to when the database is ready. */
export function createLocalRunner(load: () => Promise<RunRoles>, { onReady, onFinal }: RunnerHooks): Runner {
  const stopping = new AbortController()
  let loading: ReturnType<typeof load> | undefined
  let running: Promise<RunningRoles> | undefined

  return {
    launch() {
      loading = load()
      // Its failure is told by `begin`, which is always called unless the start has failed before.
      loading.catch(() => {})
    },
    begin(start) {
      if (running) {
        onFinal('What this process was started with has changed, and it holds all roles: start it again.')
        return
      }
      loading ??= load()
      running = loading.then((run) => run(start, stopping.signal))
      running.then(
        ({ url }) => onReady(url),
        (error) => {
          if (!stopping.signal.aborted) onFinal(startFailure(error).message)
        },
      )
    },
    async stop() {
      stopping.abort()
      const roles = await running?.catch(() => undefined)
      await roles?.stop()
    },
    kill() {},
  }
}
