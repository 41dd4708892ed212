import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Simulator, startSimulator } from '../../../../simulator/index.js'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { prepareNumber, type TestNumber } from './number.contract.js'

const OWNER = '5511987654321'
let simulator: Simulator
let number: TestNumber

beforeEach(async () => {
  simulator = await startSimulator()
  number = prepareNumber(simulator, { name: 'Ana' })
  await number.connect()
  await number.next('qr', 0)
})
afterEach(async () => {
  await number.stop()
  await simulator.stop()
})

async function code(): Promise<string> {
  const given = await number.connection.pairingCode?.(OWNER)
  return given ?? ''
}

/** What follows a pairing: the login is durable, the server asks for a restart, the number opens. */
async function becomesOpen(): Promise<void> {
  expect(await number.next('close', 0)).toMatchObject({ reason: 'RESTART_REQUIRED' })
  expect(number.all('paired')).toHaveLength(1)
  await number.reopen()
  expect(number.waId).toBe(OWNER)
}

describe('a pairing code', () => {
  it('that is typed on the phone links the number', async () => {
    const given = await code()
    expect(given).toMatch(/^[0-9A-Z]{8}$/)
    expect(await simulator.phones.enterCode(OWNER, given)).toMatchObject({ phone: OWNER })
    await becomesOpen()
  })

  it('that was mistyped may be typed again', async () => {
    const given = await code()
    expect(await simulator.phones.enterCode(OWNER, 'AAAABBBB')).toHaveProperty('refused')
    expect(number.all('close')).toEqual([])
    await simulator.phones.enterCode(OWNER, given)
    await becomesOpen()
  })

  it('that was mistyped does not block the next try when WhatsApp says nothing', async () => {
    const given = await code()
    simulator.faults.add({ action: 'drop', tag: 'iq' })
    void simulator.phones.enterCode(OWNER, 'AAAABBBB')
    await eventually(() => simulator.faults.list()[0]?.fired === 1)
    expect(await simulator.phones.enterCode(OWNER, given)).toMatchObject({ phone: OWNER })
    await becomesOpen()
  })

  it('that was mistyped leaves the QR good', async () => {
    await code()
    await simulator.phones.enterCode(OWNER, 'AAAABBBB')
    const [{ code: qr } = { code: '' }] = number.all('qr')
    expect(simulator.phones.scanQr(qr, OWNER)).toMatchObject({ phone: OWNER })
    await becomesOpen()
  })

  it('is replaced by a newer one', async () => {
    const [older, newer] = await Promise.all([code(), code()])
    expect(await simulator.phones.enterCode(OWNER, older)).toHaveProperty('refused')
    await simulator.phones.enterCode(OWNER, newer)
    await becomesOpen()
  })

  it('whose connection broke leaves nothing behind: the next one shows QRs and gives codes', async () => {
    await code()
    await number.journal.whenDurable(number.journal.tail)
    simulator.faults.add({ action: 'kill' })
    expect(await number.next('close', 0)).toMatchObject({ reason: 'CONNECTION_LOST' })
    const before = number.events.length
    await number.connect()
    await number.next('qr', before)
    await simulator.phones.enterCode(OWNER, await code())
    expect(await number.next('close', before)).toMatchObject({ reason: 'RESTART_REQUIRED' })
    await number.reopen()
    expect(number.waId).toBe(OWNER)
  })

  it('that WhatsApp refuses is none', async () => {
    simulator.faults.add({ action: 'iq-error', tag: 'md', error: 429 })
    await expect(code()).rejects.toMatchObject({ name: 'PairingRefused', code: '429' })
    expect(await code()).toMatch(/^[0-9A-Z]{8}$/)
  })

  it('is not given on a linked number', async () => {
    await simulator.phones.enterCode(OWNER, await code())
    await becomesOpen()
    await expect(code()).rejects.toThrow('not waiting to be paired')
  })
})
