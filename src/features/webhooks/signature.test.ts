import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { newSecret, signatureOf } from './signature.js'

const body = JSON.stringify({
  type: 'message.received',
  timestamp: '2026-11-21T00:00:00.000Z',
  data: { text: 'olá ✓' },
})

function headersFor(secrets: readonly string[], timestamp = Math.floor(Date.now() / 1_000)): Record<string, string> {
  return {
    'webhook-id': 'evt_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatureOf({ id: 'evt_1', timestamp, body }, secrets),
  }
}

describe('signature', () => {
  it('is accepted by the public library', () => {
    const secret = newSecret()
    expect(new Webhook(secret).verify(body, headersFor([secret]))).toEqual(JSON.parse(body))
  })

  it('equals the published vector of Standard Webhooks', () => {
    const content = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: 1_614_265_330, body: '{"test": 2432232314}' }
    expect(signatureOf(content, ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'])).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    )
  })

  it('equals what the public library makes', () => {
    const secret = newSecret()
    const at = new Date(1_700_000_000_000)
    const ours = signatureOf({ id: 'evt_1', timestamp: 1_700_000_000, body }, [secret])
    expect(ours).toBe(new Webhook(secret).sign('evt_1', at, body))
  })

  it('is accepted under both secrets while one is being rotated', () => {
    const [old, fresh] = [newSecret(), newSecret()]
    const headers = headersFor([fresh, old])
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(2)
    for (const secret of [old, fresh]) expect(() => new Webhook(secret).verify(body, headers)).not.toThrow()
    expect(() => new Webhook(newSecret()).verify(body, headers)).toThrow()
  })

  it.each([
    ['another body', (headers: Record<string, string>) => [`${body} `, headers] as const],
    ['another id', (headers: Record<string, string>) => [body, { ...headers, 'webhook-id': 'evt_2' }] as const],
    [
      'another time',
      (headers: Record<string, string>) =>
        [body, { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) }] as const,
    ],
  ])('does not fit %s', (_what, tamper) => {
    const secret = newSecret()
    const [tampered, headers] = tamper(headersFor([secret]))
    expect(() => new Webhook(secret).verify(tampered, headers)).toThrow()
  })

  it('uses secrets of 32 random bytes', () => {
    const secret = newSecret()
    expect(secret).toMatch(/^whsec_/)
    expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).toHaveLength(32)
    expect(newSecret()).not.toBe(secret)
  })
})
