/** Wake-ups over NOTIFY: the trigger on the job table sends them at commit. */
import type { Database } from '../../database/database.js'
import { JOB_CHANNEL } from '../job-store.js'
import { type Dispatcher, type JobKind, jobKinds } from '../jobs.js'

export function createPostgresDispatcher(db: Pick<Database, 'listen'>): Dispatcher {
  const listeners: ((kind: JobKind) => void)[] = []
  let stopListening: Promise<() => Promise<void>> | undefined

  return {
    async start() {
      // After each (re)connect everything is looked at: notifications of the meantime are lost.
      stopListening ??= db.listen(JOB_CHANNEL, receive, () => jobKinds.forEach(tell))
      await stopListening
    },
    async stop() {
      const stop = await stopListening
      stopListening = undefined
      await stop?.()
    },
    onWakeUp(listener) {
      listeners.push(listener)
    },
  }

  /** A newer version may know kinds that this one does not. */
  function receive(payload: string): void {
    const kind = jobKinds.find((known) => known === payload)
    if (kind) tell(kind)
  }

  function tell(kind: JobKind): void {
    for (const listener of listeners) listener(kind)
  }
}
