import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ContactCard, readVcard, writeVcard } from './vcard.js'

const word = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  .map((text) => `x${text.replaceAll(/[\r\t]/g, '')}`)
const token = fc.constantFrom('CELL', 'HOME', 'WORK')
const some = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined })

const card: fc.Arbitrary<ContactCard> = fc
  .record({
    formattedName: word,
    firstName: some(word),
    lastName: some(word),
    phones: fc.array(fc.record({ phone: word, type: token, waId: some(fc.constant('5511987654321')) })),
    emails: fc.array(fc.record({ email: word, type: token })),
    company: some(word),
  })
  .map(({ formattedName, firstName, lastName, phones, emails, company }) => ({
    name: { formattedName, ...(firstName ? { firstName } : {}), ...(lastName ? { lastName } : {}) },
    phones: phones.map(({ phone, type, waId }) => ({ phone, type, ...(waId ? { waId } : {}) })),
    ...(emails.length > 0 ? { emails } : {}),
    ...(company ? { org: { company } } : {}),
  }))

test('a card is read as it was written, whatever is in its names', () => {
  fc.assert(
    fc.property(card, (written) => {
      expect(readVcard(writeVcard(written))).toEqual(written)
    }),
  )
})

test('a card of a phone is read: groups, folded lines, parameters in any case', () => {
  const text = [
    'BEGIN:VCARD',
    'VERSION:3.0',
    'N:Souza;Ana;;;',
    'FN:Ana ',
    ' Souza',
    'item1.TEL;TYPE=Mobile;waid=5511987654321:+55 11 98765-4321',
    'item1.X-ABLabel:Celular',
    'END:VCARD',
  ].join('\r\n')
  expect(readVcard(text)).toEqual({
    name: { formattedName: 'Ana Souza', firstName: 'Ana', lastName: 'Souza' },
    phones: [{ phone: '+55 11 98765-4321', type: 'Mobile', waId: '5511987654321' }],
  })
})

test('what is no card still has a name', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(readVcard(text, 'shown').name.formattedName).not.toBe('')
    }),
  )
})
