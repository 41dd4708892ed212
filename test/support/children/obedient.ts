/** A child of the supervisor's tests: writes a line for everything that happens to it to the file named by its plan. */
import { appendFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { runChild } from '../../../src/app/child-runtime.js'

runChild(async ({ config, plan }) => {
  const tell = (what: string) => appendFileSync(config.dataDirectory, `${plan.name} ${what} ${process.pid}\n`)
  // Keeps the process alive by itself, as sockets do.
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  if (config.replicaName === 'port-taken') throw Object.assign(new Error('in use'), { code: 'EADDRINUSE', port: 3000 })
  tell('started')
  return {
    url: plan.roles.includes('web') ? 'http://fixture' : undefined,
    async stop() {
      tell('stopped')
      if (config.replicaName === 'never-stops') await new Promise(() => {})
    },
  }
})
