import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../testing/linked-account.js'

let linked: LinkedAccount
let contact: string

beforeEach(async () => {
  linked = await startLinkedAccount()
  contact = linked.contacts[0] ?? ''
})
afterEach(() => linked.stop())

type Json = Record<string, never> & { [name: string]: unknown }

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const answer = await fetch(linked.simulator.httpUrl + path, { method, ...(body === undefined ? {} : { body: text }) })
  return { status: answer.status, body: (await answer.json()) as Json }
}

describe('the admin API', () => {
  it('answers / when it is ready', async () => {
    expect((await call('GET', '/')).status).toBe(200)
  })

  it('shows the account, its companions and what the server holds for them', async () => {
    const { body } = await call('GET', `/admin/accounts/${linked.account}`)
    expect(body).toMatchObject({ phone: linked.account, name: 'Ana', online: true, logins: 1 })
    expect(body.companions).toMatchObject([{ device: 1, online: true, queued: 0 }])
  })

  it('creates contacts by number and by count; all others are not on WhatsApp', async () => {
    const habits = { receipts: 'read', readDelayMs: 5, autoReply: 'ok' }
    const { body } = await call('POST', '/admin/contacts', { phones: ['+55 (11) 95555-0001'], count: 2, ...habits })
    expect(body.contacts).toMatchObject([{ phone: '5511955550001', ...habits }, habits, habits])
    const answer = await linked.client.socket.onWhatsApp('5511955550001', '5511955550002')
    expect(answer?.map(({ jid }) => jid)).toEqual(['5511955550001@s.whatsapp.net'])
  })

  it('lets a contact send, numbered and at a rate, and tells what became of it', async () => {
    const { account } = linked
    const sending = { to: account, text: 'chat-1', count: 3, ratePerSecond: 100 }
    const { body } = await call('POST', `/admin/contacts/${contact}/send`, sending)
    expect(body.ids).toHaveLength(3)
    await eventually(() => linked.simulator.verdict(account).inboundSent === 3)
    await eventually(() => linked.simulator.verdict(account).undeliveredInbound === 0)
    const sent = await call('GET', `/admin/contacts/${contact}/sent`)
    expect(sent.body.messages).toMatchObject([
      { text: 'chat-1 #1', state: 'delivered' },
      { text: 'chat-1 #2', state: 'delivered' },
      { text: 'chat-1 #3', state: 'delivered' },
    ])
  })

  it('shows inbox, verdict, stats and trace of what a client sent', async () => {
    const id = await linked.client.send(contact, 'hello chat-1 #1')
    await linked.client.acked(id)
    await eventually(() => linked.simulator.phones.inbox(contact).counts.distinct === 1)
    const inbox = await call('GET', `/admin/contacts/${contact}/inbox`)
    expect(inbox.body.messages).toMatchObject([
      { whatsappId: id, text: 'hello chat-1 #1', from: linked.account, seq: 1 },
    ])
    const verdict = await call('GET', `/admin/verdict?account=${linked.account}&last=2`)
    expect(verdict.body).toMatchObject({ lost: 1, doubledById: 0, reusedRatchetCounters: 0 })
    const trace = await call('GET', '/admin/trace?tag=message&direction=in')
    expect(trace.body.entries).toMatchObject([{ attrs: { id }, account: linked.account }])
    expect((await call('GET', '/admin/stats')).body).toMatchObject({ messagesReceived: 1, distinctMessages: 1 })
  })

  it('has a page to play the phones in a browser, which loads nothing from elsewhere', async () => {
    const answer = await fetch(`${linked.simulator.httpUrl}/phone`)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const page = await answer.text()
    expect(page).toContain('<title>Simulated phones</title>')
    expect(page).not.toMatch(/https?:\/\/|src=|@import|url\(/)
    const paths = [...page.matchAll(/'(\/admin\/[a-z/-]*)/g)].map(([, path]) => path)
    expect(new Set(paths)).toEqual(
      new Set([
        '/admin/contacts',
        '/admin/contacts/',
        '/admin/accounts',
        '/admin/mock-phone/scan-qr',
        '/admin/mock-phone/enter-code',
      ]),
    )
  })

  it('adds, lists and removes faults', async () => {
    const added = await call('POST', '/admin/faults', { action: 'withhold-ack', count: 'forever' })
    expect(added.body).toMatchObject({ faultId: 'fault-1', point: 'ack', fired: 0 })
    expect((await call('GET', '/admin/faults')).body.faults).toHaveLength(1)
    await call('DELETE', '/admin/faults/fault-1')
    expect((await call('GET', '/admin/faults')).body.faults).toHaveLength(0)
  })

  it('removes a companion, and forgets everything on reset', async () => {
    const closed = linked.client.waitForClose()
    const { body } = await call('POST', `/admin/accounts/${linked.account}/logout`)
    expect(body.removed).toEqual([1])
    expect(await closed).toBe(401)
    await call('POST', '/admin/reset')
    expect((await call('GET', '/admin/contacts')).body.contacts).toEqual([])
  })

  it.each([
    ['POST', '/admin/mock-phone/scan-qr', 'not a qr', 400],
    ['POST', '/admin/contacts', '{broken', 400],
    ['POST', '/admin/contacts', { phones: ['abc'] }, 400],
    ['POST', '/admin/contacts', { count: -1 }, 400],
    ['POST', '/admin/contacts', { receipts: 'maybe' }, 400],
    ['POST', '/admin/faults', { action: 'explode' }, 400],
    ['POST', '/admin/faults', { action: 'kill', at: 'nowhere' }, 400],
    ['GET', '/admin/contacts/5511999990000/inbox', undefined, 404],
    ['GET', '/admin/accounts/5511999990000', undefined, 404],
    ['GET', '/admin/contacts/%ZZ/inbox', undefined, 400],
    ['GET', '/admin/trace?limit=x', undefined, 400],
    ['GET', '/nowhere', undefined, 404],
  ])('answers %s %s with %j by a sentence', async (method, path, body, status) => {
    const answer = await call(method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.body.error).toEqual(expect.any(String))
  })
})
