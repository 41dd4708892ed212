import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closeReasons } from '../../platform/whatsapp/close-reason.js'
import { advance, awaitsOwner, connectionStatuses, type Happening, type InstanceState } from './instance.js'
import { cleanHistory, defaultReconnectPolicy, nextReconnect } from './reconnect-policy.js'

const before = new Date('2026-01-01T00:00:00Z')
const now = new Date('2026-01-01T00:01:00Z')
const start: InstanceState = { status: 'INITIALIZING', reason: null, since: before }

const closed = (reason: (typeof closeReasons)[number], attempt = 0): Happening => ({
  what: 'closed',
  reason,
  next: nextReconnect({ reason, atMs: 0 }, { ...cleanHistory, attempt }, defaultReconnectPolicy, () => 0).next,
})

const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.constantFrom<Happening>(
    { what: 'enabled', known: false },
    { what: 'disabled' },
    { what: 'restarted', known: true },
    { what: 'taken', known: true },
    { what: 'qr' },
    { what: 'paired' },
    { what: 'loading' },
    { what: 'open' },
  ),
  fc.tuple(fc.constantFrom(...closeReasons), fc.nat(25)).map(([reason, attempt]) => closed(reason, attempt)),
)

describe("an instance's state", () => {
  it('goes from creation over the QR to CONNECTED', () => {
    const seen = walk(
      { what: 'taken', known: false },
      { what: 'qr' },
      { what: 'paired' },
      closed('RESTART_REQUIRED'),
      {
        what: 'loading',
      },
      { what: 'open' },
    )
    expect(seen).toEqual(['INITIALIZING/STARTING', 'QR_REQUIRED', 'LOADING', 'LOADING', 'LOADING', 'CONNECTED'])
  })

  it('says why it reconnects, and after 20 attempts in vain that it gave up', () => {
    expect(walk({ what: 'open' }, closed('CONNECTION_LOST'), closed('CONNECTION_LOST', 20))).toEqual([
      'CONNECTED',
      'RECONNECTING/CONNECTION_LOST',
      'DISCONNECTED/ATTEMPTS_EXHAUSTED',
    ])
  })

  it.each(['LOGOUT', 'TOS_BLOCK', 'BANNED', 'BAD_CREDENTIALS'] as const)('is AUTH_FAILURE after %s', (reason) => {
    const [, last] = walk({ what: 'open' }, closed(reason))
    expect(last).toBe(`AUTH_FAILURE/${reason}`)
  })

  it('begins again when a pairing was cut in two', () => {
    expect(walk({ what: 'taken', known: false }, { what: 'loading' }, closed('PAIRING_INTERRUPTED'))).toEqual([
      'INITIALIZING/STARTING',
      'LOADING',
      'INITIALIZING/PAIRING_INTERRUPTED',
    ])
  })

  it('asks for a new QR session, and nothing else, when nobody scanned', () => {
    expect(walk({ what: 'qr' }, closed('QR_EXPIRED'), { what: 'taken', known: false })).toEqual([
      'QR_REQUIRED',
      'QR_REQUIRED/QR_EXPIRED',
      'QR_REQUIRED/QR_EXPIRED',
    ])
  })

  it('leaves the word to the new holder when the lease was lost', () => {
    expect(walk({ what: 'open' }, closed('LEASE_LOST'))).toEqual(['CONNECTED', 'CONNECTED'])
  })

  it('is not CONNECTED any more when its replica has put it down', () => {
    expect(walk({ what: 'open' }, closed('CLOSED'))[1]).toBe('RECONNECTING/CLOSED')
  })

  it('keeps its time while nothing changes', () => {
    const open = advance(start, { what: 'open' }, before)
    expect(advance(open, { what: 'open' }, now)).toBe(open)
  })

  it('is one of the seven statuses after anything, and a new holder leaves alone only what waits for its owner', () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (happenings) => {
        const state = happenings.reduce((current, next) => advance(current, next, now), start)
        expect(connectionStatuses).toContain(state.status)
        const taken = advance(state, { what: 'taken', known: true }, now)
        expect(taken === state || taken.reason === 'STARTING').toBe(true)
        if (awaitsOwner(state)) expect(taken).toBe(state)
      }),
    )
  })
})

function walk(...happenings: Happening[]): string[] {
  let state = start
  return happenings.map((next) => {
    state = advance(state, next, now)
    return state.reason ? `${state.status}/${state.reason}` : state.status
  })
}
