import { type Agent, get } from 'node:https'
import { afterEach, expect, it } from 'vitest'
import { startSimulator } from '../../../../simulator/index.js'
import { createMediaAgent } from './media-agent.js'

let simulator: Awaited<ReturnType<typeof startSimulator>>
afterEach(() => simulator.stop())

it('serves file after file over one connection to a media host with a certificate of its own', async () => {
  simulator = await startSimulator()
  const agent = createMediaAgent(simulator.caPem)
  const ownPorts = new Set<number | undefined>()
  for (let file = 0; file < 3; file++) ownPorts.add(await ask(agent, `https://127.0.0.1:${simulator.port}/v/none`))
  agent.destroy()
  expect(ownPorts.size).toBe(1)
})

/** Resolves to our port of the connection. */
function ask(agent: Agent, url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent }, (response) => {
      const { localPort } = response.socket
      response.on('end', () => setImmediate(() => resolve(localPort))).resume()
    })
    request.on('error', reject)
  })
}
