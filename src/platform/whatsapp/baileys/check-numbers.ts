/** Asks WhatsApp who is behind phone numbers, many in one question (usync). */
import type { BinaryNode, USyncQuery, WASocket } from 'baileys'
import { isUsername, parseJid } from '../jid.js'
import type { NumberCheck } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'

interface Answer {
  /** The digits that the server says it was asked for; a server may leave them out. */
  readonly asked: string | undefined
  readonly check: NumberCheck
}

/** One check for each number (digits), in their order. Rejects when WhatsApp does not answer. */
export async function checkNumbers(
  baileys: BaileysLibrary,
  library: WASocket,
  waIds: readonly string[],
): Promise<NumberCheck[]> {
  const answers = await ask(baileys, library, waIds)
  const found = waIds.map((waId) => findAnswer(answers, waId))
  const taken = new Set(found)
  // An answer under another number than any that was asked for, and no word of which: only a question of its own tells.
  const isUnclear = answers.some((answer) => answer.check.exists && !taken.has(answer))
  return Promise.all(waIds.map(async (waId, index) => found[index]?.check ?? (isUnclear ? askAlone(waId) : missing)))

  async function askAlone(waId: string): Promise<NumberCheck> {
    const [answer] = waIds.length === 1 ? answers : await ask(baileys, library, [waId])
    return answer?.check ?? missing
  }
}

const missing: NumberCheck = { exists: false }

function findAnswer(answers: readonly Answer[], waId: string): Answer | undefined {
  return (
    answers.find(({ asked }) => asked === waId) ??
    answers.find(({ asked, check }) => asked === undefined && check.waId === waId)
  )
}

async function ask(baileys: BaileysLibrary, library: WASocket, waIds: readonly string[]): Promise<Answer[]> {
  const query = new baileys.USyncQuery().withContactProtocol().withLIDProtocol().withUsernameProtocol()
  keepWhatWasAsked(query)
  for (const waId of waIds) query.withUser(new baileys.USyncUser().withPhone(`+${waId}`))
  const answer = await library.executeUSyncQuery(query)
  // Baileys answers a timeout with nothing.
  if (!answer) throw new Error('WhatsApp did not answer')
  return answer.list.map(({ id, contact, lid, username }) => readAnswer(id, { contact, lid, username }))
}

function readAnswer(id: string, said: { contact?: unknown; lid?: unknown; username?: unknown }): Answer {
  const { exists, asked } = (said.contact ?? { exists: false }) as Contact
  if (!exists) return { asked, check: missing }
  const waId = parseJid(id)?.waId ?? asked
  const { lid } = parseJid(typeof said.lid === 'string' ? said.lid : undefined) ?? {}
  const username = typeof said.username === 'string' && isUsername(said.username) ? said.username : undefined
  return { asked, check: { exists, ...(waId && { waId }), ...(lid && { lid }), ...(username && { username }) } }
}

interface Contact {
  readonly exists: boolean
  readonly asked: string | undefined
}

/** Baileys' own readers throw the asked number away, and read a name only where it is no bytes. */
function keepWhatWasAsked(query: USyncQuery): void {
  const readers: Readonly<Record<string, (node: BinaryNode) => unknown>> = {
    contact: (node): Contact => ({
      exists: node.attrs.type === 'in',
      asked: textOf(node).replace(/\D/g, '') || undefined,
    }),
    username: (node) => textOf(node) || null,
  }
  query.protocols = query.protocols.map((protocol) => ({
    name: protocol.name,
    getQueryElement: () => protocol.getQueryElement(),
    getUserElement: (user) => protocol.getUserElement(user),
    parser: readers[protocol.name] ?? protocol.parser,
  }))
}

function textOf({ content }: BinaryNode): string {
  if (typeof content === 'string') return content
  return content instanceof Uint8Array ? Buffer.from(content).toString() : ''
}
