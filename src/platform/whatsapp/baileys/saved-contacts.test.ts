import { expect, test } from 'vitest'
import { readSavedContacts } from './saved-contacts.js'

test('a name that the owner saved is told with every address that came along, without devices', () => {
  const contact = { id: '5511987654321:3@s.whatsapp.net', lid: '77:3@lid', name: 'Ana', username: 'ana.souza' }
  expect(readSavedContacts([contact])).toEqual([
    { type: 'contact', address: { waId: '5511987654321', lid: '77' }, savedName: 'Ana' },
  ])
  expect(readSavedContacts([{ id: '77@lid', phoneNumber: '5511987654321@s.whatsapp.net', name: '' }])).toEqual([
    { type: 'contact', address: { waId: '5511987654321', lid: '77' }, savedName: null },
  ])
})

test('what names no person, or was not saved by anybody, is left out', () => {
  expect(
    readSavedContacts([
      { id: '1203@g.us', name: 'a group' },
      { id: '77@lid' },
      { id: '77@lid', name: 'ana.souza', username: 'ana.souza' },
    ]),
  ).toEqual([])
})
