/** What WhatsApp leaves unanswered, unsaid, or says over and over: none of it costs the connection. */
import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('a connection stays up', () => {
  it('when WhatsApp answers none of the questions after a login', async () => {
    const one = await world.prepare()
    const questions = ['abt', 'blocklist', 'privacy', 'w:profile:picture']
    for (const tag of questions) world.simulator.faults.add({ action: 'iq-error', tag, count: 'forever' })
    await one.reopen()
    await one.send(world.contact, 'unanswered: sent all the same')
    await eventually(() => world.readTimes('unanswered: sent all the same') === 1)
    expect(one.all('close')).toEqual([])
  })

  it('when a question of ours is dropped: whoever asked is told, or the connection ends under it', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'drop', tag: 'iq', account: one.waId, count: 'forever' })
    const asked = one.connection.checkNumber(world.contact)
    const failed = expect(asked).rejects.toThrow()
    await world.settle()
    expect(one.all('close')).toEqual([])
    one.connection.terminate('CLOSED')
    await failed
  })

  it('when a message never becomes readable: it is told as such, and the next ones are read', async () => {
    const one = await world.open({ provider: { healMs: 200 } })
    const fault = world.simulator.faults.add({ action: 'bad-mac', contact: world.contact, count: 'forever' })
    const id = await world.write('unanswered: never readable')
    await eventually(() => one.messages().some(({ content }) => content.type === 'undecryptable'))
    expect(one.messages().map(({ whatsappId }) => whatsappId)).toEqual([id])
    if ('faultId' in fault && fault.faultId) world.simulator.faults.remove(fault.faultId)
    await world.write('unanswered: readable')
    await eventually(() => one.messages().some(({ content }) => content.type === 'text'))
    expect(one.all('close')).toEqual([])
  })

  it('when somebody is known by a LID alone: the message says so, and can be answered', async () => {
    const one = await world.open()
    const [stranger] = world.simulator.phones.createContacts({ count: 1, habits: { addressing: 'lid' } })
    if (!stranger) throw new Error('no contact')
    world.simulator.faults.add({ action: 'hide-number', contact: stranger.phone, count: 'forever' })
    await world.simulator.phones.send(stranger.phone, one.waId, 'who am I?')
    const message = await eventually(() => one.messages().find(({ sender }) => sender?.lid === stranger.lid))
    expect(message.sender).toEqual({ lid: stranger.lid })
    const whatsappId = one.provider.newWhatsappId()
    await one.connection.send(
      { whatsappId, to: { lid: stranger.lid }, content: { type: 'text', text: { body: 'somebody' } } },
      { signal: new AbortController().signal, ackTimeoutMs: 60_000 },
    )
    await eventually(() =>
      world.simulator.phones.inbox(stranger.phone).messages.some(({ text }) => text === 'somebody'),
    )
  })

  it('when a message is sent before it is open: it is refused, and surely has not left', async () => {
    const one = await world.prepare()
    await one.connect()
    await expect(one.send(world.contact, 'unanswered: too early')).rejects.toMatchObject({
      code: 'not_connected',
      sent: 'no',
    })
    await one.next('open', 0)
    expect(world.readTimes('unanswered: too early')).toBe(0)
  })
})
