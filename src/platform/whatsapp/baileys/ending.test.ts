import { describe, expect, it } from 'vitest'
import { linkNumber, prepareNumber } from './number.contract.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('what ends a connection', () => {
  it.each([
    ['a cut cable', { action: 'kill' }, 'CONNECTION_LOST'],
    ['another connection with our credentials', { action: 'replaced' }, 'REPLACED'],
    ['a restart that the server asks for', { action: 'stream-error', code: 515 }, 'RESTART_REQUIRED'],
    ['a server that goes down', { action: 'stream-error', code: 503 }, 'CONNECTION_LOST'],
    ['a stream error without a code', { action: 'stream-error', code: 0 }, 'CONNECTION_LOST'],
    ['the end of the stream', { action: 'stream-end' }, 'CONNECTION_LOST'],
    ['a websocket that is closed', { action: 'socket-close', code: 1011 }, 'CONNECTION_LOST'],
    ['a frame that cannot be decrypted', { action: 'garbage-frame' }, 'CONNECTION_LOST'],
    ['a frame that is no stanza', { action: 'invalid-node' }, 'CONNECTION_LOST'],
  ] as const)('%s', async (_what, fault, reason) => {
    const one = await world.open()
    world.simulator.faults.add(fault)
    expect(await one.next('close', 0)).toMatchObject({ reason })
    await world.settle()
    expect(one.all('close')).toHaveLength(1)
  })

  it('silence', async () => {
    const one = await world.open({ provider: { keepAliveMs: 250 } })
    world.simulator.faults.add({ action: 'silence' })
    expect(await one.next('close', 0)).toMatchObject({ reason: 'CONNECTION_LOST' })
  })

  it('the phone removes us', async () => {
    const fresh = await linkNumber(world.simulator, { name: 'Fabio' })
    world.simulator.phones.logout(fresh.waId)
    expect(await fresh.next('close')).toMatchObject({ reason: 'LOGOUT' })
    await fresh.connect()
    expect(await fresh.next('close')).toMatchObject({ reason: 'LOGOUT' })
  })

  it.each([
    ['an HTTP 503 on the upgrade', { action: 'http-503' }, 'UNAVAILABLE'],
    ['a server that does not greet', { action: 'no-hello' }, 'CONNECTION_LOST'],
    ['a server with a false certificate', { action: 'bad-certificate' }, 'UNAVAILABLE'],
    ['a login refused as banned or blocked', { action: 'login-failure', reason: 403 }, 'REFUSED'],
    ['a login of a removed device', { action: 'login-failure', reason: 401 }, 'LOGOUT'],
    ['a login under a temporary ban', { action: 'login-failure', reason: 402 }, 'TOS_BLOCK'],
    ['a login with credentials that are void', { action: 'login-failure', reason: 406 }, 'BAD_CREDENTIALS'],
    ['a login that WhatsApp has no word for', { action: 'login-failure', reason: 409 }, 'REFUSED'],
    ['a login server that is broken', { action: 'login-failure', reason: 500 }, 'UNAVAILABLE'],
    ['a login of an outdated client', { action: 'login-failure', reason: 405 }, 'REFUSED'],
    ['a login server that is overloaded', { action: 'login-failure', reason: 503 }, 'UNAVAILABLE'],
    ['a socket cut while connecting', { action: 'kill', at: 'login' }, 'CONNECTION_LOST'],
  ] as const)('%s, while connecting', async (_what, fault, reason) => {
    const one = await world.prepare()
    world.simulator.faults.add(fault)
    // Only where nothing comes: an answer may take longer than that on a busy machine.
    await one.connect(fault.action === 'no-hello' ? { provider: { connectWatchdogMs: 600 } } : {})
    expect(await one.next('close', 0)).toMatchObject({ reason })
    expect(one.all('open')).toEqual([])
    await one.reopen()
  })

  it('a second login with our credentials takes the place of the first', async () => {
    const first = await world.open()
    const second = prepareNumber(world.simulator, { durable: first.durable })
    await second.connect()
    await second.next('open', 0)
    expect(await first.next('close', 0)).toMatchObject({ reason: 'REPLACED' })
    expect(second.all('close')).toEqual([])
    await second.stop()
  })

  it('nobody at the address', async () => {
    const lost = prepareNumber(world.simulator, { provider: { webSocketUrl: 'ws://127.0.0.1:9/ws/chat' } })
    await lost.connect()
    expect(await lost.next('close', 0)).toMatchObject({ reason: 'CONNECTION_LOST' })
  })
})
