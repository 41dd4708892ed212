/** Yardsticks that run as processes of their own and follow orders over IPC, one at a time: both ends. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** Times in epoch ms, by WhatsApp id. */
export type Times = Record<string, number>

export interface BareProcess<Order> {
  readonly pid: number
  order(message: Order): Promise<Times>
  stop(): Promise<void>
}

/** @param script a file beside this one. */
export function startBareProcess<Order extends object>(script: string): BareProcess<Order> {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [], {
    execArgv: script.endsWith('.ts') ? ['--import', 'tsx'] : [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  return {
    pid: child.pid ?? 0,
    async order(message) {
      child.send(message)
      const [answer] = (await once(child, 'message')) as [{ done: boolean; error?: string; times: Times }]
      if (!answer.done) throw new Error(answer.error)
      return answer.times
    },
    async stop() {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** In the process: follows each order and answers. */
export function obey<Order>(follow: (order: Order) => Promise<Times>): void {
  process.on('message', (order: Order) => {
    follow(order).then(
      (times) => process.send?.({ done: true, times }),
      (error: unknown) => process.send?.({ done: false, error: String(error) }),
    )
  })
}
