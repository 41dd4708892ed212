import { expect, it } from 'vitest'
import { readClosing, readRefusedUpgrade } from './closing.js'

const boom = (message: string, statusCode: number, data?: unknown) =>
  Object.assign(new Error(message), { output: { statusCode }, data })
const stream = (statusCode: number) => boom(`Stream Errored (${statusCode})`, statusCode)
const login = (statusCode: number, data?: unknown) => boom('Connection Failure', statusCode, data)

it.each([
  ['the phone removed the device', stream(401), 'LOGOUT'],
  ['credentials WhatsApp does not know', login(401), 'LOGOUT'],
  ['a temporary ban', login(402, { code: '101' }), 'TOS_BLOCK'],
  ['a refusal without a word', login(403, { reason: '403', location: 'frc' }), 'REFUSED'],
  ['a refusal that speaks of a ban', login(403, { reason: '403', ban: 'permanent' }), 'BANNED'],
  ['a refusal that speaks of the terms', login(403, { violation_type: '14' }), 'TOS_BLOCK'],
  ['an outdated client', login(405), 'REFUSED'],
  ['a refusal to start chats', login(463), 'REFUSED'],
  ['a log-out of unknown cause', login(406), 'BAD_CREDENTIALS'],
  ['a device list that does not have us', boom('Multi-device beta not joined', 411), 'BAD_CREDENTIALS'],
  ['another connection with our credentials', boom('Stream Errored (conflict)', 440), 'REPLACED'],
  ['a restart after pairing', boom('Stream Errored (restart required)', 515), 'RESTART_REQUIRED'],
  ['an overloaded stream', stream(503), 'CONNECTION_LOST'],
  ['a stream error without a code', boom('Stream Errored (unknown)', 500), 'CONNECTION_LOST'],
  ['a login refused for now', login(503), 'UNAVAILABLE'],
  ['a broken login server', login(500), 'UNAVAILABLE'],
  ['a closed socket', boom('Connection Terminated', 428), 'CONNECTION_LOST'],
  ['silence', boom('Connection was lost', 408), 'CONNECTION_LOST'],
  ['QR codes nobody scanned', boom('QR refs attempts ended', 408), 'QR_EXPIRED'],
  ['a certificate of somebody else', boom('noise intermediate certificate signature invalid', 400), 'UNAVAILABLE'],
  ['a certificate of another kind', boom('certification match failed', 400), 'UNAVAILABLE'],
  ['a TLS certificate nobody vouches for', boom('WebSocket Error (self-signed certificate)', 500), 'UNAVAILABLE'],
  ['a pairing the account did not sign', boom('Failed to verify account signature', 500), 'UNAVAILABLE'],
  ['nothing said', undefined, 'CONNECTION_LOST'],
])('%s', (_what, error, reason) => {
  expect(readClosing(error).reason).toBe(reason)
})

it('says the code and nothing that could be personal', () => {
  expect(readClosing(login(403, { location: '+5511987654321' })).detail).toBe('login ended by the server (403)')
})

it.each([
  [503, 'UNAVAILABLE'],
  [429, 'UNAVAILABLE'],
  [403, 'REFUSED'],
])('an upgrade refused with HTTP %i is %s', (httpStatus, reason) => {
  expect(readRefusedUpgrade(httpStatus).reason).toBe(reason)
})
