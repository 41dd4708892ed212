/**
 * Mirante with one promise of its webhooks broken on purpose, to prove that G14 notices. `webhook-control.ts NAME`:
 * - `fire-and-forget`: one try for each event, as gateways do that keep no record of failures;
 * - `new-id`: an id for each try, as senders do that do not know their event; the signature is of the old one.
 */
import { randomUUID } from 'node:crypto'
import type { Egress } from '../../src/platform/egress/http-client.js'
import { serveComposed } from '../support/serve-composed.js'

const controls: Readonly<Record<string, (real: Egress) => Egress>> = {
  'fire-and-forget': (real) => ({
    ...real,
    post: async (url, request) => {
      const answer = await real
        .post(url, request)
        .catch(() => ({ headers: {}, body: '', truncated: false, durationMs: 0 }))
      return { ...answer, status: 200 }
    },
  }),
  'new-id': (real) => ({
    ...real,
    post: (url, request) =>
      real.post(url, { ...request, headers: { ...request.headers, 'webhook-id': `evt_${randomUUID()}` } }),
  }),
}

const egress = controls[process.argv[2] ?? '']
if (!egress) throw new Error(`name one of ${Object.keys(controls).join(', ')}`)
await serveComposed({ egress })
