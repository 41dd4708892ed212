/** The HTTP routes of deliveries: what became of each event at each endpoint. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { publicId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Reader } from '../../platform/database/reader.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { deliveryStatuses } from './delivery.js'
import { findDelivery, listAttempts, listDeliveries } from './delivery-store.js'
import { findEndpoint } from './endpoint-store.js'
import { cut, parseCursor } from './paging.js'
import { endpointNotFound } from './webhook-routes.js'
import { deliveryView, deliveryWithAttempts, viewDelivery, viewDeliveryWithAttempts } from './webhook-view.js'

const tags = ['Webhooks']

export interface DeliveryRoutesDeps {
  readonly db: Database
  /** For the list. */
  readonly reader: Reader
}

export function deliveryRoutes({ db, reader }: DeliveryRoutesDeps): (app: App) => void {
  return (app) => {
    app.get(
      '/api/webhooks/:id/deliveries',
      {
        config: { scope: 'read' },
        schema: {
          tags,
          summary: 'List the deliveries of a webhook endpoint, the newest first',
          params: z.object({ id: idParam('whe') }),
          querystring: pageQuery.extend({ status: z.enum(deliveryStatuses).optional() }),
          response: { 200: pageOf(deliveryView) },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const { limit, cursor, status } = request.query
        const before = parseCursor('dlv', cursor)
        const endpointId = request.params.id
        const found = await reader.tenantTx(tenantId, async (tx) => {
          if (!(await findEndpoint(tx, tenantId, endpointId))) throw endpointNotFound()
          return listDeliveries(tx, tenantId, { endpointId, status, before, limit: limit + 1 })
        })
        const { page, next } = cut(found, limit)
        return { data: page.map(viewDelivery), nextCursor: next ? publicId('dlv', next.id) : null }
      },
    )

    app.get(
      '/api/deliveries/:id',
      {
        config: { scope: 'read' },
        schema: {
          tags,
          summary: 'Read a delivery and its attempts',
          params: z.object({ id: idParam('dlv') }),
          response: { 200: deliveryWithAttempts },
        },
      },
      async (request) => {
        const { tenantId } = request.auth
        const { id } = request.params
        const found = await db.tenantTx(tenantId, async (tx) => {
          const delivery = await findDelivery(tx, tenantId, id)
          return delivery && { delivery, attempts: await listAttempts(tx, tenantId, id) }
        })
        if (!found) throw new AppError('not_found', { detail: 'No delivery has this id.' })
        return viewDeliveryWithAttempts(found.delivery, found.attempts)
      },
    )
  }
}
