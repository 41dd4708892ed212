import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { giverOf, isGoodToken } from './privacy-tokens.js'
import { useWorld } from './world.contract.js'

const WEEK_S = 7 * 24 * 3_600
const NOW_S = 3_000 * WEEK_S + 5

describe('a stored token', () => {
  const token = Buffer.from('token')

  it.each([
    ['of this week', { token, timestamp: String(NOW_S) }, true],
    ['of the third week before', { token, timestamp: String(NOW_S - 3 * WEEK_S) }, true],
    ['older than that', { token, timestamp: String(NOW_S - 4 * WEEK_S) }, false],
    ['without a time', { token }, false],
    ['that is only a note of when ours was given', { token: Buffer.alloc(0), senderTimestamp: NOW_S }, false],
    ['that is not there', undefined, false],
  ])('%s: good is %s', (_name, value, good) => {
    expect(isGoodToken(value, NOW_S * 1_000)).toBe(good)
  })

  it('has a giver, which the index has not', () => {
    expect(giverOf('77@lid', { token })).toEqual({ lid: '77' })
    expect(giverOf('__index', { token })).toBeUndefined()
    expect(giverOf('77@lid', { token: Buffer.alloc(0) })).toBeUndefined()
  })
})

const world = useWorld()

describe('a token of a person', () => {
  it('comes behind what they write, is told, and outlives the connection', async () => {
    const one = await world.open()
    const lid = world.simulator.world.find(world.contact)?.lid ?? ''
    const person = { waId: world.contact, lid }
    expect(one.connection.isTrustedBy?.(person)).toBe(false)
    await world.write('hello')
    await eventually(() => one.all('trusted').some(({ by }) => by.lid === lid))
    expect(one.connection.isTrustedBy?.(person)).toBe(true)
    const again = await world.open()
    expect(again.connection.isTrustedBy?.(person)).toBe(true)
  })

  it('lets a restricted number write to them, and to nobody else', async () => {
    const one = await world.open()
    const [stranger] = world.simulator.phones.createContacts({ count: 1, prefix: '55119666' })
    const owner = world.simulator.world.find(one.waId)
    if (!owner) throw new Error('no account')
    owner.restrictedUntil = Date.now() + 3_600_000
    await one.send(world.contact, 'under a restriction')
    await expect(one.send(stranger?.phone ?? '', 'who are you?')).rejects.toMatchObject({ code: 'refused_463' })
    owner.restrictedUntil = 0
  })

  it('is ours as well: whom we write to gets one', async () => {
    const one = await world.open()
    const [stranger] = world.simulator.phones.createContacts({ count: 1, prefix: '55119667' })
    await one.send(stranger?.phone ?? '', 'hello')
    await eventually(() => stranger?.tokensFrom.has(one.waId))
  })
})
