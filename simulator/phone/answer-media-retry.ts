import { createCipheriv, hkdfSync } from 'node:crypto'
import { proto } from 'baileys'
import { deliver } from '../router/deliver.js'
import type { Simulation } from '../simulation.js'
import { pnJid } from '../wire/jid.js'
import { type BinaryNode, child, el } from '../wire/node-codec.js'
import type { Companion } from '../world/world.js'

const NOT_FOUND_CODE = 2

/**
 * A companion could not download the file of a message, and asks the phone of its owner: it uploads the file again and
 * tells the new path, sealed with a key only readers of the message have, or says that it has not got it any more.
 */
export function answerMediaRetry(sim: Simulation, companion: Companion, receipt: BinaryNode): void {
  const { id = '' } = receipt.attrs
  const asked = child(receipt, 'rmr')
  const { retry } = sim.media.behaviour
  if (!asked || retry === 'silent') return
  const known = sim.media.remembered(id)
  const directPath = known && retry === 'success' ? sim.media.reupload(known.directPath) : null
  const answer =
    known && directPath
      ? sealed(sim, { id, mediaKey: known.mediaKey, directPath })
      : el('error', { code: NOT_FOUND_CODE })
  const attrs = { id, type: 'mediaretry', from: pnJid(companion.person.phone), t: sim.seconds() }
  deliver(sim, companion, el('notification', attrs, [answer, el('rmr', { ...asked.attrs })]))
}

type Found = { id: string; mediaKey: Uint8Array; directPath: string }

function sealed(sim: Simulation, { id, mediaKey, directPath }: Found): BinaryNode {
  const plain = proto.MediaRetryNotification.encode({
    stanzaId: id,
    directPath,
    result: proto.MediaRetryNotification.ResultType.SUCCESS,
  }).finish()
  const key = Buffer.from(hkdfSync('sha256', mediaKey, new Uint8Array(0), 'WhatsApp Media Retry Notification', 32))
  const iv = sim.seeded.bytes(sim.nextId(`media-retry/${id}`), 12)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(id))
  const payload = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return el('encrypt', {}, [el('enc_p', {}, payload), el('enc_iv', {}, iv)])
}
