import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { type ContractWorld, describeProvider } from '../whatsapp.contract.js'
import { linkNumber, prepareNumber } from './number.contract.js'
import { useWorld } from './world.contract.js'

const world = useWorld()
const STRANGER = '5511999990000'

describeProvider(
  'Baileys',
  (): ContractWorld => ({
    open: () => world.open(),
    contact: world.contact,
    stranger: STRANGER,
    inbox: world.textsRead,
    write: world.write,
    isReceipted: (id) => world.stateOf(id) === 'delivered',
    play: (id) => world.simulator.phones.giveReceipts(world.contact, [id], 'played'),
    isHeard: (id) => world.waitingReceipts(id) === 0,
    settle: world.settle,
  }),
)

describe('pairing', () => {
  it('shows codes, is paired by one, restarts, and needs none after that', async () => {
    const fresh = await linkNumber(world.simulator, { name: 'Bia' })
    expect(
      fresh.events
        .map(({ type }) => type)
        .filter((type) => type !== 'alive')
        .slice(0, 4),
    ).toEqual(['qr', 'paired', 'close', 'loading'])
    expect(fresh.all('close')).toMatchObject([{ reason: 'RESTART_REQUIRED' }])
    expect(fresh.all('open')).toMatchObject([{ waId: fresh.waId, lid: expect.stringMatching(/^\d+$/) }])
    await fresh.connection.close()
    await fresh.reopen()
    expect(fresh.all('qr')).toHaveLength(1)
    await fresh.stop()
  })

  it('is not told before the login is durable', async () => {
    const fresh = prepareNumber(world.simulator, { name: 'Caio' })
    await fresh.connect()
    const { code, expiresAt } = await fresh.next('qr', 0)
    expect(expiresAt.getTime()).toBeGreaterThan(Date.now() + 20_000)
    fresh.journal.hold()
    world.simulator.phones.scanQr(code)
    await eventually(() => fresh.journal.tail > fresh.journal.durable)
    await world.settle()
    expect(fresh.all('paired')).toEqual([])
    expect(fresh.all('close')).toEqual([])
    fresh.journal.release()
    await fresh.next('close', 0)
    expect(fresh.all('paired')).toHaveLength(1)
  })

  it('a stored login that cannot be read is bad credentials, not a new pairing', async () => {
    const broken = prepareNumber(world.simulator, { name: 'Davi' })
    await broken.connect({ connect: { credentials: new Map([['creds', new Map([['', Buffer.from('x')]])]]) } })
    expect(await broken.next('close', 0)).toMatchObject({ reason: 'BAD_CREDENTIALS' })
    expect(broken.events).toHaveLength(1)
  })

  it('logging out removes the device at WhatsApp and ends with LOGOUT', async () => {
    const fresh = await linkNumber(world.simulator, { name: 'Eva' })
    await fresh.connection.logout()
    expect(fresh.all('close').at(-1)).toMatchObject({ reason: 'LOGOUT' })
    await fresh.connect()
    expect(await fresh.next('close')).toMatchObject({ reason: 'LOGOUT' })
  })

  it('a log-out that WhatsApp does not confirm is none: the session is kept', async () => {
    const fresh = await linkNumber(world.simulator, { name: 'Gil', provider: { logoutMs: 200 } })
    const closes = fresh.all('close').length
    world.simulator.faults.add({ action: 'drop', tag: 'iq', account: fresh.waId, count: 'forever' })
    await expect(fresh.connection.logout()).rejects.toThrow()
    expect(fresh.all('close')).toHaveLength(closes)
    world.simulator.faults.clear()
    world.simulator.faults.add({ action: 'kill', at: 'stanza', tag: 'iq', account: fresh.waId })
    await expect(fresh.connection.logout()).rejects.toThrow()
    await eventually(() => fresh.all('close').length > closes)
    expect(fresh.all('close').at(-1)).toMatchObject({ reason: 'CONNECTION_LOST' })
    await fresh.reopen()
    await fresh.stop()
  })
})
