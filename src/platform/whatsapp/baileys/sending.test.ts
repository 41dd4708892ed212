import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('a message that is sent', () => {
  it('and not acknowledged in time may have left; its acknowledgement is told when it comes', async () => {
    const one = await world.open()
    await one.send(world.contact, 'acquainted')
    world.simulator.faults.add({ action: 'delay-ack', ms: 4_000 })
    // A receipt is an answer too: this contact gives none.
    world.setReceipts('none')
    const id = one.provider.newWhatsappId()
    await expect(one.send(world.contact, 'late', { id, ackTimeoutMs: 1_500 })).rejects.toMatchObject({
      code: 'ack_timeout',
      sent: 'maybe',
      final: false,
    })
    await eventually(() => one.receipts().some(({ whatsappIds, status }) => whatsappIds[0] === id && status === 'sent'))
    world.setReceipts('delivered')
  })

  it('and never acknowledged is acknowledged by its receipt', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'withhold-ack' })
    expect((await one.send(world.contact, 'unacknowledged')).at).toBeInstanceOf(Date)
  })

  it('whose receipt comes before its acknowledgement loses neither', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'early-receipt', ms: 100 })
    const id = one.provider.newWhatsappId()
    await one.send(world.contact, 'early', { id })
    await eventually(() =>
      one.receipts().some(({ whatsappIds, status }) => whatsappIds.includes(id) && status === 'delivered'),
    )
  })

  it.each([
    [463, true],
    [479, true],
    [500, false],
  ])('and refused with %i is surely not sent; final: %s', async (error, final) => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'nack', error })
    await expect(one.send(world.contact, `refused ${error}`)).rejects.toMatchObject({
      code: `refused_${error}`,
      sent: 'no',
      final,
    })
  })

  it('to somebody whose keys are falsely signed does not leave', async () => {
    const [impostor] = world.simulator.phones.createContacts({ count: 1, prefix: '55119777' })
    const one = await world.open()
    world.simulator.faults.add({ action: 'false-prekey-signature', contact: impostor?.phone ?? '', count: 'forever' })
    await expect(one.send(impostor?.phone ?? '', 'are you you?')).rejects.toMatchObject({ sent: 'no' })
    expect(world.simulator.phones.inbox(impostor?.phone ?? '').messages).toEqual([])
  })

  it('can be given up; its bytes may have left', async () => {
    const one = await world.open()
    await one.send(world.contact, 'acquainted')
    world.simulator.faults.add({ action: 'drop', tag: 'message' })
    const giveUp = new AbortController()
    const sent = one.send(world.contact, 'given up', { signal: giveUp.signal })
    await eventually(() => world.simulator.faults.list().every(({ fired }) => fired > 0))
    giveUp.abort()
    await expect(sent).rejects.toMatchObject({ code: 'aborted', sent: 'maybe' })
    await expect(one.send(world.contact, 'not begun', { signal: giveUp.signal })).rejects.toMatchObject({ sent: 'no' })
  })

  it('is not sent twice at the same time under one id', async () => {
    const one = await world.open()
    const id = one.provider.newWhatsappId()
    const sent = one.send(world.contact, 'one of two', { id })
    await expect(one.send(world.contact, 'one of two', { id })).rejects.toMatchObject({ code: 'already_sending' })
    await sent
  })

  it('is read, in the end', async () => {
    world.setReceipts('read')
    const one = await world.open()
    const id = one.provider.newWhatsappId()
    await one.send(world.contact, 'to be read', { id })
    await eventually(() =>
      one.receipts().some(({ whatsappIds, status }) => whatsappIds.includes(id) && status === 'read'),
    )
    world.setReceipts('delivered')
  })

  it('is written again, from the database, for a recipient that could not read it', async () => {
    const asked: string[] = []
    const first = await world.open()
    const id = first.provider.newWhatsappId()
    await first.send(world.contact, 'say that again', { id })
    await eventually(() => world.readTimes('say that again') === 1)
    const _second = await world.open({
      connect: {
        async findSent(whatsappId) {
          asked.push(whatsappId)
          return { to: { waId: world.contact }, content: { type: 'text', text: { body: 'say that again' } } }
        },
      },
    })
    askAgain(id)
    await eventually(() =>
      world.simulator.phones.inbox(world.contact).messages.some((read) => read.whatsappId === id && read.repeats === 1),
    )
    expect(asked).toEqual([id])
  })

  /** What a phone answers that has lost its session. */
  function askAgain(id: string): void {
    const attrs = { id, from: `${world.contact}@s.whatsapp.net`, type: 'retry', t: '1' }
    const retry = { tag: 'retry', attrs: { count: '1', id, t: '1', v: '1' } }
    const registration = { tag: 'registration', attrs: {}, content: Buffer.alloc(4) }
    world.tellNumber({ tag: 'receipt', attrs, content: [retry, registration] })
  }

  it('asks for the devices of its recipient once, and again when the server names others', async () => {
    const one = await world.open()
    const questions = () =>
      world.simulator.trace.read({ tag: 'iq', direction: 'in' }).filter(({ attrs }) => attrs.xmlns === 'usync').length
    await one.send(world.contact, 'first')
    const before = questions()
    await one.send(world.contact, 'second')
    expect(questions()).toBe(before)
    const from = `${world.contact}@s.whatsapp.net`
    world.tellNumber({ tag: 'ack', attrs: { class: 'message', id: 'any', from, phash: '2:other', t: '1' } })
    await world.settle()
    await one.send(world.contact, 'third')
    expect(questions()).toBe(before + 1)
  })
})
