import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('a call', () => {
  it.each([true, false])('is told of with who calls, and can be rejected (video: %s)', async (video) => {
    const number = await world.open()
    const call = world.simulator.phones.call(world.contact, number.waId, video)
    const told = await number.next('call', 0)
    expect(told.call).toEqual({
      callId: call.callId,
      from: { waId: world.contact },
      video,
      at: expect.any(Date),
      offline: false,
    })
    await number.connection.rejectCall?.(call.callId)
    expect(call.state).toBe('rejected')
  })

  it('of somebody who hides behind a LID is told with the number, where WhatsApp gives it', async () => {
    const number = await world.open()
    world.simulator.phones.createContacts({ phones: [world.contact], habits: { addressing: 'lid' } })
    world.simulator.phones.call(world.contact, number.waId)
    const { call } = await number.next('call', 0)
    expect(call.from).toEqual({ waId: world.contact, lid: world.simulator.world.find(world.contact)?.lid })
    world.simulator.phones.createContacts({ phones: [world.contact], habits: { addressing: 'pn' } })
  })

  it('is told once, and its end is no news', async () => {
    const number = await world.open()
    const { callId } = world.simulator.phones.call(world.contact, number.waId)
    await number.next('call', 0)
    world.simulator.phones.hangUp(callId)
    await world.settle()
    expect(number.all('call')).toHaveLength(1)
    expect(number.all('unknown-stanza')).toEqual([])
    expect(number.messages()).toEqual([])
  })

  it('that rang while we were away is told when we are back', async () => {
    const { waId } = await world.open()
    const away = await world.prepare()
    const { callId } = world.simulator.phones.call(world.contact, waId)
    await away.reopen()
    const { call } = await away.next('call', 0)
    expect(call).toMatchObject({ callId, offline: true })
    // WhatsApp has our acknowledgement, and does not tell again.
    const companion = world.simulator.world.find(away.waId)?.companions.get(1)
    await eventually(() => companion?.queue.size === 0)
  })

  it('that nobody told of cannot be rejected', async () => {
    const number = await world.open()
    await expect(number.connection.rejectCall?.('unheard of')).rejects.toThrow('not known')
  })
})
