/**
 * Mirante with one promise of its webhooks broken on purpose, to prove that G12 notices. `webhook-control.ts NAME`:
 * - `fire-and-forget`: one try for each event, as gateways do that keep no record of failures;
 * - `new-id`: an id for each try, as senders do that do not know their event; the signature is of the old one;
 * - `one-secret`: only the newest secret signs, so a receiver that has not changed its secret yet refuses;
 * - `follow-redirects`: as HTTP clients do that nobody told otherwise;
 * - `late`: every delivery waits three seconds.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Egress, EgressRequest } from '../../src/platform/egress/http-client.js'
import { serveComposed } from '../support/serve-composed.js'

const withHeader = (request: EgressRequest, name: string, value: string): EgressRequest => ({
  ...request,
  headers: { ...request.headers, [name]: value },
})

const controls: Readonly<Record<string, (real: Egress) => Egress['post']>> = {
  'fire-and-forget': (real) => async (url, request) => {
    const answer = await real
      .post(url, request)
      .catch(() => ({ headers: {}, body: '', truncated: false, durationMs: 0 }))
    return { ...answer, status: 200 }
  },
  'new-id': (real) => (url, request) => real.post(url, withHeader(request, 'webhook-id', `evt_${randomUUID()}`)),
  'one-secret': (real) => (url, request) => {
    const [newest = ''] = request.headers['webhook-signature']?.split(' ') ?? []
    return real.post(url, withHeader(request, 'webhook-signature', newest))
  },
  'follow-redirects': (real) => async (url, request) => {
    const answer = await real.post(url, request)
    const { location } = answer.headers
    return location === undefined ? answer : real.post(new URL(location, url).href, request)
  },
  late: (real) => async (url, request) => {
    await sleep(3_000)
    return real.post(url, request)
  },
}

const post = controls[process.argv[2] ?? '']
if (!post) throw new Error(`name one of ${Object.keys(controls).join(', ')}`)
await serveComposed({ egress: (real) => ({ ...real, post: post(real) }) })
