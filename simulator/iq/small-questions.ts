import { giveToken } from '../router/announce-token.js'
import { parseJid } from '../wire/jid.js'
import { type BinaryNode, child, children, el } from '../wire/node-codec.js'
import type { Person } from '../world/world.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'
import { answerMex } from './mex.js'

const PRIVACY = ['readreceipts', 'profile', 'status', 'online', 'last', 'groupadd', 'calladd', 'messages', 'defense']
const ACCEPTED_IN_SILENCE = ['w:stats', 'urn:xmpp:whatsapp:dirty', 'disappearing_mode', 'status', 'w:biz', 'bot', 'tos']

/** Questions whose answer is one node or none; null for a namespace nobody knows. */
export function answerSmallQuestion(question: IqQuestion): IqAnswer | null {
  const { node, type, asked } = question
  const xmlns = node.attrs.xmlns ?? ''
  switch (xmlns) {
    case 'w:p':
      return { content: [] }
    case 'abt':
      return { content: [props()] }
    case 'privacy':
      return type === 'set' ? setPrivacy(question) : { content: [privacySettings(question.companion.person)] }
    case 'w:profile:picture':
      return type === 'get' ? picture(question) : { content: [] }
    case 'w:mex':
      return answerMex(question)
    default:
      return ACCEPTED_IN_SILENCE.includes(xmlns) || (xmlns === '' && asked?.tag === 'ping') ? { content: [] } : null
  }
}

/** Settings are kept; tokens are given to whom they are for. */
function setPrivacy({ sim, node, companion }: IqQuestion): IqAnswer {
  const tokens = child(node, 'tokens')
  if (!tokens) {
    for (const { attrs } of children(child(node, 'privacy'), 'category')) {
      if (attrs.name && attrs.value) companion.person.privacy.set(attrs.name, attrs.value)
    }
    return { content: [privacySettings(companion.person)] }
  }
  const given = children(tokens, 'token').filter(({ attrs }) => attrs.type === 'trusted_contact')
  return {
    content: [el('tokens', {}, [])],
    afterwards() {
      for (const { attrs } of given) {
        const holder = sim.world.findByJidUser(parseJid(attrs.jid)?.user ?? '')
        if (holder) giveToken(sim, companion.person, holder, Number(attrs.t) || sim.seconds())
      }
    },
  }
}

function privacySettings({ privacy }: Person): BinaryNode {
  return el(
    'privacy',
    {},
    PRIVACY.map((name) => el('category', { name, value: privacy.get(name) ?? 'all' })),
  )
}

function picture({ sim, node, asked }: IqQuestion): IqAnswer {
  const url = sim.world.findByJidUser(parseJid(node.attrs.target)?.user ?? '')?.picture
  if (!url) return { error: 404, text: 'item-not-found' }
  return { content: [el('picture', { id: '1', type: asked?.attrs.type ?? 'preview', url })] }
}

/** Of the hundreds that there are, what clients of this wire look at. */
const PROPS: readonly (readonly [number, string])[] = [
  // Messages to a person carry the token that this person gave, as far as there is one; so do questions for pictures.
  [10518, 'true'],
  [9666, 'true'],
  // Tokens are given to numbers, not to lids.
  [14303, 'false'],
]

function props(): BinaryNode {
  const each = PROPS.map(([code, value]) => el('prop', { config_code: code, config_value: value }))
  return el('props', { hash: 'sim', refresh: 86400 }, each)
}
