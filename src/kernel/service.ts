/**
 * Anything that lives longer than a call. `stop` is idempotent, safe before `start`, and resolves when nothing of the
 * service runs any more.
 */
export interface Service {
  start(): Promise<void>
  stop(): Promise<void>
}

/** Starts in order, stops in reverse order; a failed start stops what had started. */
export function serviceGroup(services: readonly Service[]): Service {
  const started: Service[] = []
  async function stop(): Promise<void> {
    for (let service = started.pop(); service; service = started.pop()) await service.stop()
  }
  return {
    async start() {
      try {
        for (const service of services) {
          started.push(service)
          await service.start()
        }
      } catch (error) {
        await stop()
        throw error
      }
    },
    stop,
  }
}
