import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isUsername, mergeAddresses, parseJid, phoneFromWaId, toJid, waIdFromPhone } from './jid.js'

it.each([
  ['5511987654321@s.whatsapp.net', { waId: '5511987654321' }],
  ['5511987654321:12@s.whatsapp.net', { waId: '5511987654321' }],
  ['5511987654321_1:12@s.whatsapp.net', { waId: '5511987654321' }],
  ['5511987654321@c.us', { waId: '5511987654321' }],
  ['5511987654321:99@hosted', { waId: '5511987654321' }],
  ['123456789:3@lid', { lid: '123456789' }],
  ['123456789:99@hosted.lid', { lid: '123456789' }],
  ['120363041234567890@g.us', { groupJid: '120363041234567890@g.us' }],
  ['5511987654321-1612345678@g.us', { groupJid: '5511987654321-1612345678@g.us' }],
  ['1@broadcast', undefined],
  ['120363041234567890@newsletter', undefined],
  ['somebody@s.whatsapp.net', undefined],
  ['no address', undefined],
  [null, undefined],
])('%s is %j', (jid, address) => {
  expect(parseJid(jid)).toEqual(address)
})

it('writes to the group, else the phone, else the LID', () => {
  expect(toJid({ groupJid: '1@g.us' })).toBe('1@g.us')
  expect(toJid({ waId: '55', lid: '7' })).toBe('55@s.whatsapp.net')
  expect(toJid({ lid: '7' })).toBe('7@lid')
  expect(() => toJid({})).toThrow(TypeError)
})

const digits = fc.stringMatching(/^[1-9]\d{4,18}$/)
const device = fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined })
const server = fc.constantFrom('s.whatsapp.net', 'c.us', 'hosted', 'lid', 'hosted.lid')
const personJid = fc
  .record({ user: digits, agent: device, device, server })
  .map(({ user, agent, device: number, server: at }) => ({
    user,
    jid: `${user}${agent === undefined ? '' : `_${agent}`}${number === undefined ? '' : `:${number}`}@${at}`,
  }))

it('no device or agent of a person ever gets out, whatever the jid', () => {
  fc.assert(
    fc.property(personJid, ({ user, jid }) => {
      const address = parseJid(jid) ?? {}
      expect(Object.values(address)).toEqual([user])
      expect(toJid(address)).toMatch(/^\d+@(s\.whatsapp\.net|lid)$/)
      expect(parseJid(toJid(address))).toEqual(address)
    }),
  )
})

it('whatever text comes, what is read of it is digits or the jid of a group, and nothing throws', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `${text}@lid`),
        fc.string({ unit: 'binary' }),
      ),
      (text) => {
        const { waId = '0', lid = '0', groupJid = '1@g.us' } = parseJid(text) ?? {}
        expect(waId + lid).toMatch(/^\d+$/)
        expect(groupJid).toMatch(/^[^:@_]+@g\.us$/)
      },
    ),
  )
})

it.each(['maria', 'maria.silva', 'm_1', 'a'.repeat(35)])('%s is a username', (text) => {
  expect(isUsername(text)).toBe(true)
})

it.each(['', 'ab', 'a'.repeat(36), '12345', 'Maria', '.maria', 'maria.', 'ma..ria', 'mária', 'ma ria', '@maria'])(
  '%j is no username',
  (text) => {
    expect(isUsername(text)).toBe(false)
  },
)

it('joins what two sources say of one person; the first wins', () => {
  expect(mergeAddresses({ waId: '55' }, { waId: '66', lid: '7' })).toEqual({ waId: '55', lid: '7' })
  expect(mergeAddresses({ waId: '55' }, undefined)).toEqual({ waId: '55' })
})

it('a phone is a WhatsApp id with a plus', () => {
  expect(phoneFromWaId('5511')).toBe('+5511')
  expect(waIdFromPhone('+5511')).toBe('5511')
})
