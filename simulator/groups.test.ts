import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectBareClient } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

const text = (message: { conversation?: string | null; extendedTextMessage?: { text?: string | null } | null }) =>
  message.conversation || message.extendedTextMessage?.text || ''

describe.each(['lid', 'pn'] as const)('a group that addresses people by %s', (addressing) => {
  let linked: LinkedAccount
  let anna: string
  let bruno: string
  let group: string

  beforeEach(async () => {
    linked = await startLinkedAccount({ contacts: 3 })
    ;[anna = '', bruno = ''] = linked.contacts
    group = linked.simulator.groups.create({
      subject: 'Choir',
      creator: anna,
      members: [bruno, linked.account],
      addressing,
    }).jid
  })
  afterEach(async () => {
    expect(linked.simulator.problems).toEqual([])
    expect(linked.simulator.unknown).toEqual([])
    await linked.stop()
  })

  const read = () => linked.client.messages.filter(({ key }) => key.remoteJid === group).flatMap((m) => m.message ?? [])
  const shown = (phone: string) => linked.simulator.phones.inbox(phone).messages

  it('is described to its members', async () => {
    const all = await linked.client.socket.groupFetchAllParticipating()
    expect(Object.keys(all)).toEqual([group])
    const data = await linked.client.socket.groupMetadata(group)
    expect(data).toMatchObject({ id: group, subject: 'Choir', addressingMode: addressing, size: 3 })
    const lidOf = (phone: string) => `${linked.simulator.world.find(phone)?.lid}@lid`
    const people = [anna, bruno, linked.account].map((phone, n) => ({
      id: addressing === 'lid' ? lidOf(phone) : `${phone}@s.whatsapp.net`,
      [addressing === 'lid' ? 'phoneNumber' : 'lid']: addressing === 'lid' ? `${phone}@s.whatsapp.net` : lidOf(phone),
      admin: n === 0 ? 'superadmin' : null,
    }))
    expect(data.participants).toMatchObject(people)
  })

  it('carries a text of the client to every phone, with ack and receipts of each', async () => {
    const receipts: string[] = []
    linked.client.socket.ev.on('message-receipt.update', (updates) => {
      for (const { receipt } of updates) receipts.push(receipt.userJid ?? '')
    })
    const sent = await linked.client.socket.sendMessage(group, { text: 'hello #1' })
    expect(await linked.client.acked(sent?.key.id ?? '')).toBe('')
    await eventually(() => shown(anna).length === 1 && shown(bruno).length === 1)
    await eventually(() => linked.simulator.phones.copies(linked.account).messages.length === 1)
    expect(shown(bruno)[0]).toMatchObject({ text: 'hello #1', group, from: linked.account, whatsappId: sent?.key.id })
    // What comes before the own message is flushed is merged into it, and no event follows.
    const merged = () =>
      linked.client.messages.flatMap(({ userReceipt }) => userReceipt?.map((one) => one.userJid) ?? [])
    await eventually(() => new Set([...receipts, ...merged()]).size === 2)
    await linked.client.socket.sendMessage(group, { text: 'hello #2' })
    await eventually(() => shown(anna).length === 2)
    expect(linked.simulator.verdict(linked.account)).toMatchObject({ lost: 0, undecryptable: 0, distinct: 4 })
  })

  it('carries a text of a member to the client and to the other phones', async () => {
    const { simulator, client, account } = linked
    for (const n of [1, 2]) await simulator.phones.write(bruno, { group }, { text: `good morning #${n}` })
    await simulator.phones.write(anna, { group }, { text: 'hi' })
    await eventually(() => read().length === 3)
    expect(read().map(text)).toEqual(['good morning #1', 'good morning #2', 'hi'])
    const { key } = client.messages.find(({ message }) => message?.conversation === 'hi') ?? {}
    const who = addressing === 'lid' ? simulator.world.find(anna)?.lid : anna
    expect(key?.participant?.split('@')[0]).toBe(who)
    await eventually(() => simulator.phones.sent(bruno).every(({ state }) => state === 'delivered'))
    expect(shown(anna).map((message) => message.text)).toEqual(['good morning #1', 'good morning #2'])
    expect(simulator.verdict(account)).toMatchObject({ inboundSent: 3, undeliveredInbound: 0 })
  })

  it('waits for a client that is away, and tells it once', async () => {
    const { simulator, client, account } = linked
    await simulator.phones.write(bruno, { group }, { text: 'before' })
    await eventually(() => read().length === 1)
    client.close()
    await eventually(() => simulator.world.find(account)?.companions.get(1)?.connection === null)
    for (const n of [1, 2, 3]) await simulator.phones.write(bruno, { group }, { text: `away #${n}` })
    await client.reconnect()
    await eventually(() => read().length === 4)
    await eventually(() => simulator.verdict(account).undeliveredInbound === 0)
    expect(read().map(text)).toEqual(['before', 'away #1', 'away #2', 'away #3'])
  })

  it('lets a client that could not read ask again', async () => {
    const { simulator, account } = linked
    simulator.faults.add({ action: 'bad-mac', account })
    await simulator.phones.write(bruno, { group }, { text: 'once more' })
    await eventually(() => read().some((message) => text(message) === 'once more'))
    expect(simulator.phones.sent(bruno)[0]?.copies[0]).toMatchObject({ retries: 1 })
    await simulator.phones.write(bruno, { group }, { text: 'and on' })
    await eventually(() => read().some((message) => text(message) === 'and on'))
  })

  it('lets a phone that could not read ask again', async () => {
    const { simulator, client, account } = linked
    simulator.faults.add({ action: 'garble', account })
    await client.socket.sendMessage(group, { text: 'what? #1' })
    const texts = (phone: string) => shown(phone).map((message) => message.text)
    await eventually(() => texts(anna).length === 1 && texts(bruno).length === 1)
    expect(simulator.verdict(account).undecryptable).toBe(1)
    expect(simulator.phones.inbox(bruno).counts.repeatedById).toBe(1)
  })

  it('shuts out who was removed, and writes on with a new key', async () => {
    const { simulator, client, account } = linked
    await simulator.phones.write(bruno, { group }, { text: 'first' })
    await eventually(() => read().length === 1)
    simulator.groups.change(group, 'remove', [account])
    await simulator.phones.write(bruno, { group }, { text: 'without you' })
    await expect(client.socket.groupMetadata(group)).rejects.toThrow('forbidden')
    simulator.groups.change(group, 'add', [account])
    await simulator.phones.write(bruno, { group }, { text: 'welcome back' })
    await eventually(() => read().some((message) => text(message) === 'welcome back'))
    expect(read().map(text).filter(Boolean)).toEqual(['first', 'welcome back'])
  })
})

describe('a client in groups', () => {
  let linked: LinkedAccount
  let anna: string
  let bruno: string
  const upserts: string[] = []
  const changes: string[] = []

  beforeEach(async () => {
    upserts.length = 0
    changes.length = 0
    linked = await startLinkedAccount({ contacts: 2 })
    ;[anna = '', bruno = ''] = linked.contacts
    linked.client.socket.ev.on('groups.upsert', (groups) => upserts.push(...groups.map(({ subject }) => subject)))
    linked.client.socket.ev.on('group-participants.update', ({ action, participants }) => {
      changes.push(...participants.map(({ phoneNumber }) => `${action} ${phoneNumber?.split('@')[0]}`))
    })
  })
  afterEach(() => linked.stop())

  const pn = (phone: string) => `${phone}@s.whatsapp.net`

  it('makes one, changes its members and hears of each change', async () => {
    const { simulator, client } = linked
    simulator.phones.createContacts({ phones: ['5511900000099'], habits: { refusesGroups: true } })
    const { id } = await client.socket.groupCreate('Rowing', [pn(anna)])
    await eventually(() => upserts.includes('Rowing'))
    const added = await client.socket.groupParticipantsUpdate(
      id,
      [bruno, anna, '5511900000099', '5511000000000'].map(pn),
      'add',
    )
    expect(added.map(({ status }) => status)).toEqual(['200', '409', '403', '404'])
    await client.socket.groupParticipantsUpdate(id, [pn(bruno)], 'promote')
    await client.socket.groupParticipantsUpdate(id, [pn(bruno)], 'demote')
    await client.socket.groupParticipantsUpdate(id, [pn(bruno)], 'remove')
    await eventually(() => changes.length === 4)
    expect(changes).toEqual(['add', 'promote', 'demote', 'remove'].map((change) => `${change} ${bruno}`))
    const gone = await client.socket.groupParticipantsUpdate(id, [pn(bruno)], 'remove')
    expect(gone.map(({ status }) => status)).toEqual(['404'])
  })

  it('changes subject and description', async () => {
    const { simulator, client } = linked
    const { id } = await client.socket.groupCreate('Rowing', [pn(anna)])
    await client.socket.groupUpdateSubject(id, 'Sailing')
    await client.socket.groupUpdateDescription(id, 'on Sundays')
    await client.socket.groupUpdateDescription(id, 'on Mondays')
    expect(await client.socket.groupMetadata(id)).toMatchObject({ subject: 'Sailing', desc: 'on Mondays' })
    expect(simulator.groups.view(id)).toMatchObject({ subject: 'Sailing', description: 'on Mondays' })
  })

  it('may not change what only admins change, nor write where only they write', async () => {
    const { simulator, client, account } = linked
    const { jid } = simulator.groups.create({ subject: 'News', creator: anna, members: [account] })
    await expect(client.socket.groupParticipantsUpdate(jid, [pn(bruno)], 'add')).rejects.toThrow('forbidden')
    await expect(client.socket.groupInviteCode(jid)).rejects.toThrow('not-authorized')
    simulator.groups.change(jid, 'promote', [account])
    await client.socket.groupSettingUpdate(jid, 'announcement')
    simulator.groups.change(jid, 'demote', [account])
    const sent = await client.socket.sendMessage(jid, { text: 'psst' })
    expect(await client.acked(sent?.key.id ?? '')).toBe('403')
    expect(simulator.phones.inbox(anna).messages).toEqual([])
  })

  it('joins by a code, and leaves', async () => {
    const { simulator, client, account } = linked
    const { jid, inviteCode } = simulator.groups.create({ subject: 'Open', creator: anna, members: [bruno] })
    expect(await client.socket.groupGetInviteInfo(inviteCode)).toMatchObject({ subject: 'Open' })
    expect(await client.socket.groupAcceptInvite(inviteCode)).toBe(jid)
    await eventually(() => upserts.includes('Open'))
    simulator.groups.change(jid, 'promote', [account])
    expect(await client.socket.groupInviteCode(jid)).toBe(inviteCode)
    const renewed = await client.socket.groupRevokeInvite(jid)
    expect(renewed).not.toBe(inviteCode)
    await expect(client.socket.groupGetInviteInfo(inviteCode)).rejects.toThrow()
    await client.socket.groupLeave(jid)
    expect(simulator.groups.view(jid)?.members.map(({ phone }) => phone)).toEqual([anna, bruno])
  })

  it('writes to a group with another account: its companion reads it and answers', async () => {
    const { simulator, client, account } = linked
    const other = connectBareClient(simulator, { pushName: 'Bia' })
    await other.pair('5511987654321')
    await eventually(() => other.state.creds.accountSyncCounter > 0)
    const { jid } = simulator.groups.create({ subject: 'Two', creator: anna, members: [account, '5511987654321'] })
    await client.socket.sendMessage(jid, { text: 'hello Bia' })
    const has = (reader: typeof client, wanted: string) =>
      reader.messages.some(({ key, message }) => !key.fromMe && message && text(message) === wanted)
    await eventually(() => has(other, 'hello Bia'))
    await other.socket.sendMessage(jid, { text: 'hello Ana' })
    await eventually(() => has(client, 'hello Ana'))
    await simulator.phones.write('5511987654321', { group: jid }, { text: 'from my phone' })
    await eventually(() => has(client, 'from my phone'))
    await eventually(() =>
      other.messages.some(({ key, message }) => key.fromMe && message?.conversation === 'from my phone'),
    )
    other.close()
  })

  it('is in the test group from its first login on, and stays the only one of it', async () => {
    const withGroup = await startLinkedAccount({ simulator: { testGroup: '120363000000000009@g.us' } })
    const second = connectBareClient(withGroup.simulator, { pushName: 'Bia' })
    await second.pair()
    for (const client of [withGroup.client, second]) {
      const all = await client.socket.groupFetchAllParticipating()
      expect(Object.keys(all)).toEqual(['120363000000000009@g.us'])
    }
    expect(withGroup.simulator.groups.view('120363000000000009')?.members).toHaveLength(3)
    second.close()
    await withGroup.stop()
  })
})
