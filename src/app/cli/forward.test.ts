import { expect, it, vi } from 'vitest'
import { freePort } from '../../../test/support/launch.js'
import { startWebhookReceiver } from '../../../test/support/webhook-receiver.js'
import { newSecret } from '../../features/webhooks/signature.js'
import { checkSecret, createForwarder, forwardUrl } from './forward.js'

const event = {
  ...{ id: 'evt_1', sequence: 7, type: 'message.received', timestamp: '2026-01-01T00:00:00.000Z' },
  data: { text: { body: 'olá' } },
}

function forwarderTo(url: string, secret = newSecret(), options: { timeoutMs?: number } = {}) {
  const stop = new AbortController()
  const [onDown, onBack] = [vi.fn<(why: string) => void>(), vi.fn<() => void>()]
  const quick = { retryEveryMs: 20, ...options }
  return {
    forward: createForwarder({ url, secret, signal: stop.signal, onDown, onBack, ...quick }),
    onDown,
    onBack,
    stop,
  }
}

it('posts an event as a webhook that the public library verifies', async () => {
  const receiver = await startWebhookReceiver()
  const secret = newSecret()
  receiver.trust(secret)
  const { forward } = forwarderTo(receiver.url, secret)
  expect(await forward(event)).toMatchObject({ status: 200, attempts: 1, error: null })
  const { id, sequence, ...payload } = event
  expect(receiver.verified).toMatchObject([{ id, payload, headers: { 'mirante-sequence': String(sequence) } }])
  await receiver.stop()
})

it('takes any answer for an answer, redirects too, and does not go after them', async () => {
  const receiver = await startWebhookReceiver()
  const secret = newSecret()
  receiver.trust(secret)
  const { forward } = forwarderTo(receiver.url, secret)
  for (const status of [500, 404, 302]) {
    receiver.answerWith({ status, headers: { location: receiver.at('/elsewhere') } })
    expect(await forward(event)).toMatchObject({ status, attempts: 1 })
  }
  expect(receiver.verified.map(({ path }) => path)).toEqual(['/hook', '/hook', '/hook'])
  await receiver.stop()
})

it('waits for a server that is down, tells it once, and signs anew', async () => {
  const port = await freePort()
  const secret = newSecret()
  const { forward, onDown, onBack } = forwarderTo(`http://127.0.0.1:${port}/hook`, secret)
  const done = forward(event)
  await expect.poll(() => onDown.mock.calls).toEqual([['ECONNREFUSED']])
  const receiver = await startWebhookReceiver({ port })
  receiver.trust(secret)
  expect(await done).toMatchObject({ status: 200, error: null })
  expect(onDown).toHaveBeenCalledTimes(1)
  expect(onBack).toHaveBeenCalledTimes(1)
  expect(receiver.verified).toHaveLength(1)
  await receiver.stop()
})

it('stops waiting when it is told to', async () => {
  const { forward, onDown, stop } = forwarderTo(`http://127.0.0.1:${await freePort()}/`)
  const done = forward(event)
  await expect.poll(() => onDown.mock.calls.length).toBeGreaterThan(0)
  stop.abort()
  expect(await done).toBeUndefined()
})

it('goes on after a server that never answers', async () => {
  const receiver = await startWebhookReceiver()
  const secret = newSecret()
  receiver.trust(secret)
  receiver.answerWith({ status: 200, afterMs: Number.POSITIVE_INFINITY })
  const { forward } = forwarderTo(receiver.url, secret, { timeoutMs: 50 })
  expect(await forward(event)).toMatchObject({ status: null, error: 'timeout', attempts: 1 })
  await receiver.stop()
})

it.each([
  ['4000', 'http://127.0.0.1:4000/'],
  ['localhost:4000/hook', 'http://localhost:4000/hook'],
  ['https://example.com/x', 'https://example.com/x'],
])('%s means %s', (text, url) => {
  expect(forwardUrl(text)).toBe(url)
})

it.each(['ftp://x/', 'http://', 'no spaces please', ''])('%j is no URL to forward to', (text) => {
  expect(() => forwardUrl(text)).toThrow('--forward-to takes a URL')
})

it('takes secrets of Standard Webhooks only', () => {
  const made = newSecret()
  expect(checkSecret(made)).toBe(made)
  for (const wrong of ['hush', 'whsec_', 'whsec_c2hvcnQ=', `whsec_${'!'.repeat(40)}`]) {
    expect(() => checkSecret(wrong)).toThrow('--secret takes whsec_')
  }
})
