/** Tells the process that holds an instance that messages were accepted for it. Any ring may be lost: its sender polls. */
import type { InstanceId } from '../../kernel/ids.js'
import type { Service } from '../../kernel/service.js'

export interface InstanceBells extends Service {
  /** @param onAny after each (re)connect: any instance may have been rung for in vain. Both before `start`. */
  onRing(ring: (instanceId: InstanceId) => void, onAny: () => void): void
}
