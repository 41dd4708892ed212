import { answerLinkCode } from '../auth/pairing-code.js'
import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { isGroupJid, SERVER_JID } from '../wire/jid.js'
import { type BinaryNode, child, children, el } from '../wire/node-codec.js'
import type { Companion } from '../world/world.js'
import { answerAppState } from './app-state.js'
import { answerBlocklist } from './blocklist.js'
import { answerEncrypt } from './encrypt.js'
import { answerGroups } from './groups.js'
import { answerMediaConnection } from './media.js'
import { answerDevices, answerPassive } from './passive.js'
import { answerSmallQuestion } from './small-questions.js'
import { answerUsync } from './usync.js'

export type IqQuestion = {
  readonly sim: Simulation
  readonly connection: Connection
  readonly companion: Companion
  readonly node: BinaryNode
  readonly type: string
  /** The first child, which names what is asked. */
  readonly asked: BinaryNode | undefined
}

export type IqAnswer =
  | { readonly content: BinaryNode[]; readonly afterwards?: () => void }
  | { readonly error: number; readonly text: string }

type Answerer = (question: IqQuestion) => IqAnswer

const ANSWERERS: Readonly<Record<string, Answerer>> = {
  encrypt: answerEncrypt,
  usync: answerUsync,
  passive: answerPassive,
  md: answerDevices,
  'w:sync:app:state': answerAppState,
  'w:g2': answerGroups,
  'w:m': answerMediaConnection,
  blocklist: answerBlocklist,
}

export function answerIq(sim: Simulation, connection: Connection, node: BinaryNode) {
  const { companion } = connection
  const { type = '', xmlns = '' } = node.attrs
  if (type !== 'get' && type !== 'set') return
  const asked = children(node)[0]
  const refused = sim.faults.take('iq', { account: companion?.person.phone, tag: xmlns, id: asked?.tag })[0]
  if (refused) return reply(connection, node, { error: refused.error ?? 500, text: 'told to fail' })
  if (!companion) return reply(connection, node, answerUnregistered(sim, connection, node))
  const question: IqQuestion = { sim, connection, companion, node, type, asked }
  reply(
    connection,
    node,
    ANSWERERS[xmlns]?.(question) ?? answerSmallQuestion(question) ?? unknown(sim, { xmlns, type, child: asked?.tag }),
  )
}

function reply(connection: Connection, { attrs: { id, to } }: BinaryNode, answer: IqAnswer) {
  const from = isGroupJid(to) ? to : SERVER_JID
  if ('error' in answer) {
    const error = el('error', { code: answer.error, text: answer.text })
    return connection.send(el('iq', { id, type: 'error', from }, [error]))
  }
  connection.send(el('iq', { id, type: 'result', from }, answer.content))
  answer.afterwards?.()
}

/** A client that is not linked yet asks whether anybody is there, and for a code in place of a QR. */
function answerUnregistered(sim: Simulation, connection: Connection, node: BinaryNode): IqAnswer {
  const { xmlns = '', type = '' } = node.attrs
  const linking = child(node, 'link_code_companion_reg')
  if (linking) return answerLinkCode(sim, connection, linking)
  return xmlns === 'w:p' ? { content: [] } : unknown(sim, { xmlns, type, child: children(node)[0]?.tag })
}

/** Nobody answers this yet. An empty result keeps the client going; strict mode makes the gap visible. */
function unknown(
  sim: Simulation,
  { xmlns, type, child = '' }: { xmlns: string; type: string; child: string | undefined },
): IqAnswer {
  sim.noteUnknown({ xmlns, type, child })
  return sim.options.strict ? { error: 501, text: 'feature-not-implemented' } : { content: [] }
}
