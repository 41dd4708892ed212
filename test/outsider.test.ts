/**
 * An outsider's client must not be able to tell the simulator from WhatsApp: plain Baileys, without anything of ours, asks what
 * such clients ask. Strict: a question that the simulator does not know fails this.
 */
import { randomBytes } from 'node:crypto'
import type { WASocket } from 'baileys'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../simulator/testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../simulator/testing/linked-account.js'

let linked: LinkedAccount
let contact: string
let socket: WASocket
let jid: string
let group: string

beforeAll(async () => {
  linked = await startLinkedAccount({ simulator: { strict: true } })
  contact = linked.contacts[0] ?? ''
  jid = `${contact}@s.whatsapp.net`
  socket = linked.client.socket
  group = (await socket.groupCreate('Choir', [jid])).id
})
afterAll(() => linked.stop())

/** What the server refuses: the code of its answer. A question without an answer would time out. */
const refusal = async (asked: Promise<unknown>): Promise<number> =>
  asked.then(
    () => 0,
    (error: { data?: unknown; output?: { statusCode?: number } }) =>
      typeof error.data === 'number' ? error.data : (error.output?.statusCode ?? -1),
  )

describe('a stock client asks', () => {
  it('who is there', async () => {
    const found = await socket.onWhatsApp(contact, '5511900000000')
    expect(found).toMatchObject([{ jid, exists: true }])
    expect(await socket.fetchStatus(jid)).toMatchObject([{ id: jid, status: { status: expect.any(String) } }])
    expect(await socket.fetchDisappearingDuration(jid)).toMatchObject([{ id: jid }])
    expect(await refusal(socket.profilePictureUrl(jid))).toBe(404)
    expect(await socket.getBusinessProfile(jid)).toBeUndefined()
  })

  it('for its privacy, and changes it', async () => {
    expect(await socket.fetchPrivacySettings(true)).toMatchObject({ readreceipts: 'all', last: 'all' })
    await socket.updateLastSeenPrivacy('contacts')
    await socket.updateReadReceiptsPrivacy('none')
    expect(await socket.fetchPrivacySettings(true)).toMatchObject({ readreceipts: 'none', last: 'contacts' })
    // Else the client would not say that it has read something.
    await socket.updateReadReceiptsPrivacy('all')
    expect(await socket.fetchPrivacySettings(true)).toMatchObject({ readreceipts: 'all' })
    await socket.updateDefaultDisappearingMode(86_400)
  })

  it('to be told who is online', async () => {
    const seen: string[] = []
    socket.ev.on('presence.update', ({ presences }) =>
      seen.push(...Object.values(presences).map(({ lastKnownPresence }) => lastKnownPresence)),
    )
    await socket.presenceSubscribe(jid)
    await eventually(() => seen.includes('unavailable'))
    await socket.sendPresenceUpdate('composing', jid)
    await socket.sendPresenceUpdate('available')
  })

  it('for groups, and changes them', async () => {
    expect(Object.keys(await socket.groupFetchAllParticipating())).toEqual([group])
    expect(await socket.groupMetadata(group)).toMatchObject({ subject: 'Choir', participants: { length: 2 } })
    await socket.groupUpdateSubject(group, 'Chorus')
    const code = (await socket.groupInviteCode(group)) ?? ''
    expect(await socket.groupGetInviteInfo(code)).toMatchObject({ subject: 'Chorus' })
    await socket.groupSettingUpdate(group, 'announcement')
    await socket.groupToggleEphemeral(group, 86_400)
    await socket.groupMemberAddMode(group, 'all_member_add')
    await socket.groupJoinApprovalMode(group, 'on')
    expect(await socket.groupRequestParticipantsList(group)).toEqual([])
    expect(await refusal(socket.groupMetadata('120363999999999999@g.us'))).toBe(404)
    await socket.communityFetchAllParticipating()
  })

  it('for channels, which there are none of', async () => {
    expect(await refusal(socket.newsletterMetadata('invite', 'nobody'))).toBe(404)
    expect(await refusal(socket.newsletterFollow('120363000000000000@newsletter'))).toBe(404)
    expect(await refusal(socket.newsletterCreate('News'))).not.toBe(0)
  })

  it('for what belongs to its own account', async () => {
    await socket.updateProfileStatus('singing')
    await socket.updateProfileName('Ana Souza')
    expect(await socket.fetchBlocklist()).toEqual([])
    expect(await socket.fetchAccountReachoutTimelock()).toMatchObject({ isActive: false })
    await socket.fetchNewChatMessageCap()
    await socket.getBotListV2()
    await socket.cleanDirtyBits('account_sync', 1)
    await socket.resyncAppState(['regular_low'], false)
    await socket.rotateSignedPreKey()
    await socket.digestKeyBundle()
  })

  it('to send what people send', async () => {
    const sent = await socket.sendMessage(jid, { image: randomBytes(1_000), jpegThumbnail: '', caption: 'look' })
    await socket.sendMessage(group, { text: 'hello all' })
    await socket.sendMessage(jid, { react: { text: '👍', key: sent?.key ?? {} } })
    await linked.simulator.phones.send(contact, linked.account, 'hello')
    const got = await eventually(() => linked.client.messages.find(({ message }) => message?.conversation === 'hello'))
    await socket.readMessages([got.key])
    await eventually(() => linked.simulator.phones.sent(contact)[0]?.state === 'read')
    await socket.chatModify({ archive: true, lastMessages: [got] }, jid)
    await socket.fetchMessageHistory(10, got.key, Number(got.messageTimestamp))
  })
})

it('the simulator knew every question, and nothing failed behind it', () => {
  expect(linked.simulator.unknown).toEqual([])
  expect(linked.simulator.problems).toEqual([])
})
