/** The HTTP route of pairing by code. */
import { z } from 'zod'
import { type App, idParam } from '../../platform/http/route.js'
import { type RequestPairingCodeDeps, requestPairingCode } from './request-pairing-code.js'

const pairingCode = z
  .object({
    code: z.string().meta({ description: 'Eight letters and digits to type on the phone.', examples: ['ABCD1234'] }),
    expiresAt: z.iso.datetime().meta({ description: 'After this the session has to be restarted, as with a QR.' }),
  })
  .meta({ id: 'PairingCode' })

export function pairingRoutes(deps: RequestPairingCodeDeps): (app: App) => void {
  return (app) => {
    app.post(
      '/api/instances/:id/pairing-code',
      {
        // Whoever types the code gives the session to this instance: as with the QR, reading is not enough.
        config: { scope: 'control' },
        schema: {
          tags: ['Instances'],
          summary: 'Ask for a pairing code',
          description:
            'In place of scanning the QR: on the phone of this number, WhatsApp → Linked devices → Link a device → Link with phone number, and type the code. The QR stays good. A newer code replaces an older one; a connection that breaks before the code is typed needs a new one.',
          params: z.object({ id: idParam('ins') }),
          body: z.strictObject({
            phone: z
              .string()
              .max(64)
              .meta({ description: 'The number of that phone.', examples: ['+5511987654321'] }),
          }),
          response: { 200: pairingCode },
        },
      },
      async (request, reply) => {
        const owner = { tenantId: request.auth.tenantId, instanceId: request.params.id }
        const given = await requestPairingCode(deps, owner, request.body.phone)
        reply.header('cache-control', 'no-store')
        return given
      },
    )
  }
}
