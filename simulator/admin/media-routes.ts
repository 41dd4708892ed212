import { MEDIA_RETRIES } from '../media/media-store.js'
import type { Simulation } from '../simulation.js'
import { BadInput, oneOf, optionalNumber, optionalText, type Route } from './route.js'

const STATUS = { min: 400, max: 599 }

/** How the media host and the phones behind it behave. */
export function mediaRoutes(sim: Simulation): Route[] {
  return [
    { method: 'GET', path: '/admin/media', handle: () => ({ body: sim.media.view() }) },
    {
      method: 'POST',
      path: '/admin/media',
      handle({ json }) {
        const body = json()
        const retry = oneOf(body.retry, 'retry', MEDIA_RETRIES)
        if (retry) sim.media.behaviour.retry = retry
        if (body.uploadStatus !== undefined) {
          sim.media.behaviour.uploadStatus = optionalNumber(body.uploadStatus, 'uploadStatus', STATUS) ?? null
        }
        return { body: sim.media.view() }
      },
    },
    {
      method: 'POST',
      path: '/admin/media/expire',
      handle({ json }) {
        const body = json()
        const id = optionalText(body.id, 'id')
        const known = id === undefined ? undefined : sim.media.remembered(id)
        if (id !== undefined && !known) throw new BadInput(`message ${id} has no file that a phone knows`, 404)
        const status = optionalNumber(body.status, 'status', STATUS) ?? 410
        const expired = sim.media.expire(status, known?.directPath ?? optionalText(body.directPath, 'directPath'))
        return { body: { expired, status } }
      },
    },
  ]
}
