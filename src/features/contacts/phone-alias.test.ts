import { expect, test } from 'vitest'
import { isSameNumber, shortestSpelling, spellingsOf } from './phone-alias.js'

test.each([
  ['a Brazilian mobile', '+5511987654321', '+551187654321'],
  ['a Mexican number', '+5215512345678', '+525512345678'],
  ['an Argentine mobile', '+5491158749895', '+541158749895'],
])('%s has a longer and a shorter spelling', (_what, longer, shorter) => {
  expect(shortestSpelling(longer)).toBe(shorter)
  expect(spellingsOf(longer)).toEqual([longer, shorter])
  expect(spellingsOf(shorter)).toEqual([shorter])
  expect(isSameNumber({ phone: longer, waId: null }, shorter)).toBe(true)
  expect(isSameNumber({ phone: shorter, waId: null }, longer)).toBe(true)
})

test.each([
  // A 9 before what would be a landline: São Paulo gives such mobiles out, and the landline is somebody else's.
  ['+5511934567890', '+551134567890'],
  ['+14155550123', '+1415555012'],
  ['+5511987654321', '+5521987654321'],
])('%s and %s are two numbers', (one, other) => {
  expect(isSameNumber({ phone: one, waId: null }, other)).toBe(false)
})

test('what WhatsApp answered is a spelling as well', () => {
  expect(isSameNumber({ phone: '+14155550123', waId: '14155550999' }, '+14155550999')).toBe(true)
})
