/** What is asked of WhatsApp over the open connection of whoever holds the number. */
import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { type Connected, type GatewayWorld, useGatewayWorld } from '../../../test/support/gateway-world.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { numberChecks } from './check-numbers.js'
import { commandInstance } from './command-instance.js'

const ids = createIdGenerator()
let world: GatewayWorld

useGatewayWorld((made) => {
  world = made
})

const ask = ({ gateway, id }: Pick<Connected, 'gateway' | 'id'>, args: object, deadlineMs = 30_000) => {
  const deps = { db: world.db, ids, news: gateway.news, deadlineMs }
  return commandInstance(deps, { tenantId: world.tenantId, instanceId: id }, 'check_numbers', { ...args })
}

test('the holder asks and the answer comes back, while the connection goes on', async () => {
  const here = await world.connected({ attachments: [numberChecks] })
  here.connection.answerChecks((waId) =>
    waId === '5511911112222' ? { exists: true, waId, lid: '7' } : { exists: false },
  )
  const answer = await ask(here, { waIds: ['5511911112222', '5511933334444'] })
  expect(answer).toEqual({ checks: [{ exists: true, waId: '5511911112222', lid: '7' }, { exists: false }] })
  expect(here.connection.isClosed).toBe(false)
  expect(here.gateway.whatsapp.connections).toHaveLength(1)
})

test('many are answered at once', async () => {
  const here = await world.connected({ attachments: [numberChecks] })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => ask(here, { waIds: [`551190000000${n}`] })))
  expect(answers.map(({ checks }) => checks)).toEqual(
    Array.from({ length: 20 }, (_, n) => [{ exists: true, waId: `551190000000${n}` }]),
  )
})

test('a number that is not connected says so at once', async () => {
  const gateway = await world.start({ attachments: [numberChecks] })
  const id = await world.create(gateway)
  await gateway.whatsapp.connection(1)
  await expect(ask({ gateway, id }, { waIds: [] })).rejects.toMatchObject({ code: 'instance_not_connected' })
})

test('a connection that ends under the question says so', async () => {
  const here = await world.connected({ attachments: [{ errands: { check_numbers: () => new Promise(() => {}) } }] })
  const asked = ask(here, { waIds: [] })
  const claimed = async () => (await world.db.query(sql`select from instance_command where status = 'running'`)).length
  while ((await claimed()) === 0) await new Promise((resolve) => setImmediate(resolve))
  here.connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'cut' })
  await expect(asked).rejects.toMatchObject({ code: 'instance_not_connected' })
})

test('a WhatsApp that fails to answer, and a holder that never does, are told apart', async () => {
  const failing = await world.connected({ attachments: [numberChecks] })
  failing.connection.answerChecks(() => {
    throw new Error('no answer')
  })
  await expect(ask(failing, { waIds: ['5511911112222'] })).rejects.toMatchObject({
    code: 'whatsapp_unanswered',
    status: 504,
  })
  await world.end()
  const silent = await world.connected({
    attachments: [{ errands: { check_numbers: () => new Promise(() => {}) } }],
  })
  await expect(ask(silent, { waIds: [] }, 300)).rejects.toMatchObject({ code: 'command_timeout', status: 504 })
})
