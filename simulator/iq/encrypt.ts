import { createHash } from 'node:crypto'
import { takeBundle } from '../phone/take-bundle.js'
import type { Simulation } from '../simulation.js'
import { hasValidSignature, prefixedPublicKey } from '../wire/curve.js'
import { parseJid } from '../wire/jid.js'
import { type BinaryNode, bigEndian, child, children, el } from '../wire/node-codec.js'
import {
  bundleNode,
  KEY_TYPE,
  type PreKeyBundle,
  readPreKey,
  readSignedPreKey,
  signedPreKeyNode,
} from '../world/prekeys.js'
import type { Companion } from '../world/world.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** Prekeys: how many are left, here are more, what does the server know, give me those of others. */
export function answerEncrypt(question: IqQuestion): IqAnswer {
  const { companion, node, type, asked } = question
  if (type === 'set') return storeKeys(question)
  if (asked?.tag === 'count') return { content: [el('count', { value: companion.preKeys.length })] }
  if (asked?.tag === 'digest') return { content: [digest(companion)] }
  return handOutKeys(question.sim, child(node, 'key'))
}

function storeKeys({ sim, companion, node }: IqQuestion): IqAnswer {
  const signed = child(child(node, 'rotate') ?? node, 'skey')
  if (signed) {
    const key = readSignedPreKey(signed)
    if (!hasValidSignature(companion.identity, prefixedPublicKey(key.publicKey), key.signature)) {
      sim.stats.refusedSignatures++
      return { error: 406, text: 'not-acceptable' }
    }
    companion.signedPreKey = key
  }
  const known = new Set(companion.preKeys.map(({ id }) => id))
  const uploaded = children(child(node, 'list'), 'key').map(readPreKey)
  companion.preKeys.push(...uploaded.filter(({ id }) => !known.has(id)))
  return { content: [] }
}

function digest(companion: Companion): BinaryNode {
  const hash = createHash('sha1').update(companion.identity).update(companion.signedPreKey.publicKey)
  for (const key of companion.preKeys) hash.update(key.publicKey)
  return el('digest', {}, [
    el('registration', {}, bigEndian(companion.registrationId)),
    el('type', {}, KEY_TYPE),
    el('identity', {}, companion.identity),
    signedPreKeyNode(companion.signedPreKey),
    el(
      'list',
      {},
      companion.preKeys.map(({ id }) => el('id', {}, bigEndian(id, 3))),
    ),
    el('hash', {}, hash.digest()),
  ])
}

/** One unknown user with an `error` child would fail the whole call of the client; so it is left out. */
function handOutKeys(sim: Simulation, query: BinaryNode | undefined): IqAnswer {
  const users = children(query, 'user').flatMap(({ attrs }) => {
    const jid = parseJid(attrs.jid)
    const person = jid && sim.world.findByJidUser(jid.user)
    const bundle = person && takeBundle(sim, person, jid.device)
    if (!bundle) return []
    const isFalse = sim.faults.take('bundle', { contact: person.phone }).length > 0
    return [bundleNode(attrs.jid ?? '', isFalse ? withFalseSignature(bundle) : bundle)]
  })
  return { content: [el('list', {}, users)] }
}

function withFalseSignature(bundle: PreKeyBundle): PreKeyBundle {
  const signature = Buffer.from(bundle.signedPreKey.signature)
  signature[5] = (signature[5] ?? 0) ^ 0xff
  return { ...bundle, signedPreKey: { ...bundle.signedPreKey, signature } }
}
