import { MEDIA_AUTH } from '../media/media-http.js'
import { el } from '../wire/node-codec.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** Where files are uploaded to: the media host is the simulator itself, on its one port. */
export function answerMediaConnection({ sim }: IqQuestion): IqAnswer {
  const attrs = { auth: MEDIA_AUTH, ttl: 3600, auth_ttl: 3600, max_buckets: 12 }
  return { content: [el('media_conn', attrs, [el('host', { hostname: sim.mediaHost })])] }
}
