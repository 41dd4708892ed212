import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { linkNumber } from './number.contract.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('a message that arrives', () => {
  it('damaged is asked for again, and told once when it is whole', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'bad-mac' })
    const id = await world.write('damaged on the way')
    await eventually(() => one.messages().length > 0)
    await world.settle()
    expect(one.messages()).toMatchObject([{ whatsappId: id, content: { text: { body: 'damaged on the way' } } }])
  })

  it('and cannot be read is told as such when it has not healed', async () => {
    const one = await world.open({ provider: { healMs: 1_500 } })
    world.simulator.faults.add({ action: 'undecryptable', count: 'forever' })
    const id = await world.write('never to be read')
    expect(await one.next('message', 0)).toMatchObject({
      message: { whatsappId: id, content: { type: 'undecryptable' }, encHashes: [] },
    })
  })

  it('and has not healed when the connection ends is told before the end', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'undecryptable', count: 'forever' })
    const id = await world.write('cut off')
    await eventually(() =>
      world.simulator.phones
        .sent(world.contact)
        .find((sent) => sent.id === id)
        ?.copies.some(({ retries }) => retries > 0),
    )
    one.connection.terminate('CLOSED')
    expect(one.events.slice(-2)).toMatchObject([{ message: { whatsappId: id } }, { type: 'close' }])
  })

  it('twice, byte for byte, is told once', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'duplicate' })
    const id = await world.write('twice the same')
    await eventually(() => world.stateOf(id) === 'delivered')
    await world.settle()
    expect(one.messages().filter(({ whatsappId }) => whatsappId === id)).toHaveLength(1)
  })

  it('twice in two envelopes is told under the same id', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'duplicate-reencrypted' })
    const id = await world.write('twice anew')
    await eventually(() => one.messages().filter(({ whatsappId }) => whatsappId === id).length === 2)
    const [first, second] = one.messages().map(({ encHashes }) => encHashes[0]?.toString('hex'))
    expect(first).not.toBe(second)
  })

  it('carries phone, LID and name of who wrote it', async () => {
    const one = await world.open()
    await world.write('who is it?')
    const { message } = await one.next('message', 0)
    const lid = world.simulator.world.find(world.contact)?.lid
    expect(message).toMatchObject({
      chat: { waId: world.contact, lid },
      sender: { waId: world.contact, lid },
      pushName: /./,
    })
    expect(JSON.stringify(one.events)).not.toMatch(/\d:\d+@/)
  })

  it('keeps the order in which it was written', async () => {
    const one = await world.open()
    await world.simulator.phones.send(world.contact, one.waId, 'ordered', { count: 20 })
    await eventually(() => one.messages().length >= 20)
    const numbers = one
      .messages()
      .map(({ content }) => (content.type === 'text' ? Number(content.text.body.split('#')[1]) : 0))
    expect(numbers).toEqual([...numbers].sort((left, right) => left - right))
  })
})

describe('other things that arrive', () => {
  it('a stanza nobody has heard of is told, and the connection stays', async () => {
    const one = await world.open()
    world.simulator.faults.add({ action: 'unknown-stanza' })
    expect(await one.next('unknown-stanza', 0)).toMatchObject({ tag: 'unheard-of', detail: 'with odd' })
    await one.send(world.contact, 'still here')
  })

  it('proofs of life are told, at most one a second', async () => {
    const one = await world.open()
    const began = performance.now()
    await Promise.all(Array.from({ length: 10 }, (_, index) => one.send(world.contact, `alive ${index}`)))
    const count = one.all('alive').length
    expect(count).toBeGreaterThan(0)
    // Besides those from before: one, and one more for each second that it took.
    expect(count).toBeLessThan(10 + (performance.now() - began) / 1_000)
  })

  it('protocol messages are settled by their kind', async () => {
    const fresh = await linkNumber(world.simulator, { name: 'Gil' })
    await eventually(() => fresh.all('raw-settled').length >= 2)
    expect(fresh.all('raw-settled').map(({ as }) => as)).toEqual(
      expect.arrayContaining(['app-state-sync-key-share', 'history-sync-notification']),
    )
    await fresh.stop()
  })
})
