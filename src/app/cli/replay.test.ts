import { expect, it } from 'vitest'
import { timeFrom } from './replay.js'

const NOW = Date.parse('2026-11-21T12:00:00Z')

it.each([
  ['90s', '2026-11-21T11:58:30.000Z'],
  ['30m', '2026-11-21T11:30:00.000Z'],
  ['2h', '2026-11-21T10:00:00.000Z'],
  ['3d', '2026-11-18T12:00:00.000Z'],
  ['2026-11-20T08:00:00Z', '2026-11-20T08:00:00.000Z'],
  ['2026-11-20T08:00-03:00', '2026-11-20T11:00:00.000Z'],
  ['2026-11-20', '2026-11-20T00:00:00.000Z'],
])('%s is a time', (text, time) => {
  expect(timeFrom('--since', text, NOW)).toBe(time)
})

it.each(['', 'yesterday', '2', 'h', '-2h', '2w', '2026', '2026-13-01', '11/20/2026'])('"%s" is none', (text) => {
  expect(() => timeFrom('--since', text, NOW)).toThrow('--since takes 30m, 2h, 3d, or a time')
})
