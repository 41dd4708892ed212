import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Simulator, startSimulator } from '../index.js'
import { type BareClient, connectBareClient } from '../testing/bare-client.js'
import { eventually } from '../testing/eventually.js'
import type { TraceEntry } from '../wire/stanza-trace.js'

const OWNER = '5511987654321'
let simulator: Simulator
let client: BareClient

beforeEach(async () => {
  simulator = await startSimulator()
  client = connectBareClient(simulator, { pushName: 'Ana' })
})
afterEach(async () => {
  client.close()
  await simulator.stop()
})

/** A code can be asked for once the client has been given its refs. */
async function askForCode(phone = OWNER): Promise<string> {
  await client.waitForQr()
  const code = await client.socket.requestPairingCode(phone)
  // The library does not wait for the answer, and the phone cannot be faster than the server.
  await eventually(() => simulator.trace.read({ after: 0, limit: 10 }).some(isAnswerToHello))
  return code
}

const isAnswerToHello = ({ direction, children }: TraceEntry) =>
  direction === 'out' && children.includes('link_code_companion_reg')

describe('a code typed on the phone', () => {
  it('links a stock client, which then logs in', async () => {
    const code = await askForCode()
    const closed = client.waitForClose()
    const typed = `${code.slice(0, 4)}-${code.slice(4).toLowerCase()}`
    expect(await simulator.phones.enterCode(OWNER, typed)).toMatchObject({ phone: OWNER, device: 1 })
    expect(await closed).toBe(515)
    await client.reconnect()
    expect(client.state.creds.me?.id).toBe(`${OWNER}:1@s.whatsapp.net`)
    expect(simulator.unknown).toEqual([])
    expect(simulator.stats()).toMatchObject({ pairings: 1, refusedSignatures: 0 })
  })

  it('that is wrong fails on the phone, and may be typed again', async () => {
    const code = await askForCode()
    expect(await simulator.phones.enterCode(OWNER, 'AAAABBBB')).toMatchObject({ refused: expect.any(String) })
    expect(client.state.creds.registered).toBe(false)
    const closed = client.waitForClose()
    expect(await simulator.phones.enterCode(OWNER, code)).toMatchObject({ phone: OWNER })
    expect(await closed).toBe(515)
  })

  it('is refused when no client waits for it', async () => {
    await askForCode()
    const answer = await fetch(`${simulator.httpUrl}/admin/mock-phone/enter-code`, {
      method: 'POST',
      body: JSON.stringify({ phone: '5511911112222', code: 'AAAABBBB' }),
    })
    expect(answer.status).toBe(400)
  })
})
