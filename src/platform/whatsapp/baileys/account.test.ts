import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { useWorld } from './world.contract.js'

const world = useWorld()
const lidOf = (phone: string) => world.simulator.world.find(phone)?.lid

describe('our account', () => {
  it('has a picture, or none, as WhatsApp says when we open', async () => {
    const bare = await world.open()
    expect(await bare.next('profile', 0)).toEqual({ type: 'profile', pictureUrl: null })
    const owner = world.simulator.world.find(bare.waId)
    if (owner) owner.picture = 'https://pps.whatsapp.net/v/ana.jpg'
    const shown = await world.open()
    expect(await shown.next('profile', 0)).toEqual({
      type: 'profile',
      pictureUrl: 'https://pps.whatsapp.net/v/ana.jpg',
    })
  })

  it('has the name that its owner gives it, also when that changes while we are open', async () => {
    const number = await world.open()
    const owner = world.simulator.world.find(number.waId)
    if (owner) owner.name = 'Ana Souza'
    await world.simulator.phones.write(number.waId, { to: world.contact }, { text: 'from the phone' })
    await eventually(() => number.all('profile').some(({ pushName }) => pushName === 'Ana Souza'))
  })

  it('says at each opening whom it has blocked', async () => {
    const { waId } = await world.open()
    world.simulator.phones.block(waId, world.contact)
    const number = await world.open()
    const person = { waId: world.contact, lid: lidOf(world.contact) }
    const whole = await eventually(() => number.all('blocks').find(({ complete }) => complete))
    expect(whole.changes).toEqual([{ person, blocked: true }])
    world.simulator.phones.block(waId, world.contact, false)
    const last = () => number.all('blocks').at(-1)
    await eventually(() => last()?.changes[0]?.blocked === false)
    expect(last()).toEqual({ type: 'blocks', changes: [{ person, blocked: false }], complete: false })
  })

  it('blocks and unblocks', async () => {
    const number = await world.open()
    const blocked = world.simulator.world.find(number.waId)?.blocked
    await number.connection.setBlocked?.({ waId: world.contact }, true)
    expect(blocked).toContain(world.contact)
    await number.connection.setBlocked?.({ waId: world.contact }, false)
    expect(blocked).not.toContain(world.contact)
  })

  it('does not take silence for an empty list, nor a refusal for done', async () => {
    const { waId } = await world.open()
    world.simulator.phones.block(waId, world.contact)
    const away = await world.prepare()
    world.simulator.faults.add({ action: 'iq-error', tag: 'blocklist', count: 'forever' })
    await away.reopen()
    await expect(away.connection.setBlocked?.({ waId: world.contact }, false)).rejects.toThrow()
    await world.settle()
    expect(away.all('blocks').filter(({ complete }) => complete)).toEqual([])
    world.simulator.faults.clear()
    world.simulator.phones.block(waId, world.contact, false)
  })
})
