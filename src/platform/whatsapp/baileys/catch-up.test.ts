import { expect, it } from 'vitest'
import { useWorld } from './world.contract.js'

const world = useWorld()

/** What the contact writes while our number is away. The number, not connected yet, and the ids. */
async function missed(count: number) {
  const { waId } = world.number
  const number = await world.prepare()
  const ids = await world.simulator.phones.send(world.contact, waId, 'missed', { count })
  return { number, ids }
}

it('after a reconnect it is told, behind the messages, how many had waited and how many came', async () => {
  const first = await world.open()
  expect(await first.next('caught-up', 0)).toMatchObject({ announced: 0, received: 0, unreadable: 0 })
  const { number, ids } = await missed(3)
  await number.reopen()
  expect(await number.next('caught-up', 0)).toEqual({ type: 'caught-up', announced: 3, received: 3, unreadable: 0 })
  const told = number.events.findIndex(({ type }) => type === 'caught-up')
  const before = number.events.slice(0, told).flatMap((event) => (event.type === 'message' ? [event.message] : []))
  expect(before.map(({ whatsappId }) => whatsappId)).toEqual(ids)
})

it('what could not be decrypted so far is told apart', async () => {
  const { number } = await missed(2)
  world.simulator.faults.add({ action: 'undecryptable', count: 'forever' })
  await number.reopen()
  expect(await number.next('caught-up', 0)).toMatchObject({ announced: 2, received: 2, unreadable: 2 })
})

it('a line that is cut before the end tells nothing; the next one has the rest', async () => {
  const { number: cut } = await missed(5)
  world.simulator.faults.add({ action: 'kill', at: 'delivery', after: 2 })
  await cut.connect()
  await cut.next('close', 0)
  expect(cut.all('caught-up')).toEqual([])
  const back = await world.open()
  const { announced, received } = await back.next('caught-up', 0)
  expect(announced).toBeGreaterThan(0)
  expect(received).toBe(announced)
})
