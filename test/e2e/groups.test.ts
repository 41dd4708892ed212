/** Groups through the API: made, read, changed, left and joined; what others do in them arrives as events. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const ACCOUNT = '5511999990001'
const [ANA, BIA, CAI] = ['5511955550001', '5511955550002', '5511955550003'] as const
let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let receiver: WebhookReceiver
let mirante: MiranteProcess
let instanceId: string

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '5'])
  receiver = await startWebhookReceiver()
  mirante = await launchMirante({ simulator, env: { DATABASE_URL: database.url, LOG_LEVEL: 'error' } })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA] })
  await simulator.admin('POST', '/admin/contacts', { phones: [CAI], refusesGroups: true })
  instanceId = await pairByQr(mirante, simulator, 'groups', ACCOUNT)
  const endpoint = await mirante.api('POST', '/api/webhooks', {
    body: { url: receiver.url, events: ['group.updated', 'message.failed'] },
  })
  receiver.trust(endpoint.body.secret)
})
afterAll(async () => {
  await mirante?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await database?.drop()
})

const ask = (method: string, path: string, body?: unknown) =>
  mirante.api(method, `/api/instances/${instanceId}/groups${path}`, body === undefined ? {} : { body })

const inWhatsapp = (id: string) =>
  simulator.admin<{ subject: string; description: string | null; members: { phone: string; role: string }[] }>(
    'GET',
    `/admin/groups/${id.replace('@g.us', '')}`,
  )

async function make(participants: readonly string[] = [`+${ANA}`]): Promise<string> {
  const made = await ask('POST', '', { subject: 'Team', participants })
  expect(made).toMatchObject({ status: 201, body: { subject: 'Team' } })
  return made.body.id
}

/** The event of this group that says so. */
async function told(groupId: string, change: object): Promise<void> {
  await receiver.waitFor(
    () => {
      const mine = receiver.verified.filter(({ payload }) => payload.data.groupId === groupId)
      return mine.some(({ payload }) => {
        try {
          expect(payload.data).toMatchObject(change)
          return true
        } catch {
          return false
        }
      })
    },
    `group.updated ${JSON.stringify(change)}`,
  )
}

describe('a group', () => {
  it('is made, listed, read and renamed', async () => {
    const id = await make([`+${ANA}`, `${BIA}@s.whatsapp.net`])
    const { members } = await inWhatsapp(id)
    expect(members.map(({ phone }) => phone).sort()).toEqual([ANA, BIA, ACCOUNT].sort())
    const { data } = (await ask('GET', '')).body
    expect(data).toContainEqual(expect.objectContaining({ id, subject: 'Team' }))
    const renamed = await ask('PATCH', `/${id}`, { subject: 'Equipe 💙', description: 'About us' })
    expect(renamed).toMatchObject({ status: 200, body: { subject: 'Equipe 💙', description: 'About us' } })
    expect(await inWhatsapp(id)).toMatchObject({ subject: 'Equipe 💙', description: 'About us' })
    expect(await ask('PATCH', `/${id}`, { description: null })).toMatchObject({ body: { description: null } })
  })

  it('takes and loses participants, each with its own outcome', async () => {
    const id = await make()
    const added = await ask('POST', `/${id}/participants`, { action: 'add', participants: [`+${BIA}`, `+${CAI}`] })
    expect(added.status).toBe(200)
    expect(added.body.participants.map(({ ok }: { ok: boolean }) => ok)).toEqual([true, false])
    expect(added.body.participants[1].code).toBe(403)
    for (const [action, role] of [
      ['promote', 'admin'],
      ['demote', 'member'],
    ]) {
      await ask('POST', `/${id}/participants`, { action, participants: [`+${BIA}`] })
      const { body } = await ask('GET', `/${id}`)
      expect(body.participants.find(({ phone }: { phone: string }) => phone === `+${BIA}`)?.role).toBe(role)
    }
    await ask('POST', `/${id}/participants`, { action: 'remove', participants: [`+${BIA}`] })
    expect((await inWhatsapp(id)).members.map(({ phone }) => phone).sort()).toEqual([ANA, ACCOUNT].sort())
  })

  it('is joined by its invite, which may be replaced, and left', async () => {
    const { id } = await simulator.admin<{ id: string }>('POST', '/admin/groups', {
      subject: 'Open',
      creator: ANA,
      members: [ANA],
    })
    const { inviteCode } = await simulator.admin<{ inviteCode: string }>('GET', `/admin/groups/${id}`)
    const joined = await ask('POST', '/join', { code: `https://chat.whatsapp.com/${inviteCode}` })
    expect(joined).toMatchObject({ status: 200, body: { subject: 'Open' } })
    expect(await ask('DELETE', `/${joined.body.id}`)).toMatchObject({ status: 204 })
    expect((await inWhatsapp(joined.body.id)).members.map(({ phone }) => phone)).toEqual([ANA])

    const own = await make()
    const first = (await ask('GET', `/${own}/invite`)).body
    expect(first.url).toBe(`https://chat.whatsapp.com/${first.code}`)
    const second = (await ask('POST', `/${own}/invite/revoke`)).body
    expect(second.code).not.toBe(first.code)
    expect(await ask('POST', '/join', { code: first.code })).toMatchObject({
      status: expect.any(Number),
      body: { code: expect.any(String) },
    })
  })

  it('that others change is told of', async () => {
    const { id, jid } = await simulator.admin<{ id: string; jid: string }>('POST', '/admin/groups', {
      subject: 'Theirs',
      creator: ANA,
      members: [ANA, ACCOUNT],
    })
    await told(jid, { change: 'joined', group: { subject: 'Theirs' } })
    await simulator.admin('POST', `/admin/groups/${id}/members`, { change: 'add', phones: [BIA] })
    await told(jid, { change: 'add', author: { phone: `+${ANA}` }, participants: [{ phone: `+${BIA}` }] })
    await simulator.admin('POST', `/admin/groups/${id}`, { subject: 'Ours' })
    await told(jid, { change: 'subject', subject: 'Ours' })
  })
})

describe('what cannot be', () => {
  it('a group that nobody knows, or that one is not in, is said to be so', async () => {
    expect(await ask('GET', '/120363000000000000@g.us')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    const { id, jid } = await simulator.admin<{ id: string; jid: string }>('POST', '/admin/groups', {
      subject: 'Closed',
      creator: ANA,
      members: [ANA, BIA],
    })
    expect(await ask('PATCH', `/${jid}`, { subject: 'Mine' })).toMatchObject({
      status: 409,
      body: { code: 'group_refused' },
    })
    expect((await inWhatsapp(id)).subject).toBe('Closed')
    const sent = await mirante.api('POST', '/api/messages', {
      body: { instanceId, to: jid, type: 'text', text: { body: 'let me in' } },
    })
    expect(sent.status).toBe(202)
    await eventually(async () => {
      const { body } = await mirante.api('GET', `/api/messages/${sent.body.id}`)
      return body.status === 'failed' && body.error.code === 'not_in_group'
    }, 'the message failed')
  })

  it.each([
    ['GET', '/not-a-group', undefined],
    ['POST', '', { subject: '', participants: [`+${ANA}`] }],
    ['POST', '', { subject: 'x'.repeat(101), participants: [`+${ANA}`] }],
    ['POST', '', { subject: 'x', participants: [] }],
    ['POST', '', { subject: 'x', participants: ['nobody'] }],
    ['POST', '/120363000000000000@g.us/participants', { action: 'eat', participants: [`+${ANA}`] }],
    ['POST', '/join', { code: 'https://example.com/x' }],
  ])('%s %s with %j is refused', async (method, path, body) => {
    const answer = await ask(method, path, body)
    expect(answer.status).toBe(400)
  })

  it('an instance of somebody else is not there', async () => {
    const answer = await mirante.api('GET', '/api/instances/ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC/groups')
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })
})
