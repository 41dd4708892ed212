import { QueryIds } from 'baileys'
import { el, textOf } from '../wire/node-codec.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

const NOT_FOUND = { message: 'Not Found', extensions: { error_code: 404, severity: 'CRITICAL' } }
const NOT_ALLOWED = { message: 'Forbidden', extensions: { error_code: 403, severity: 'CRITICAL' } }
/** Chats that an account may begin in a month, where it is counted at all. */
const NEW_CHATS = 1_000

/** `w:mex`: what is asked by the number of a query. Of channels there are none, and none can be made. */
export function answerMex(question: IqQuestion): IqAnswer | null {
  const { asked } = question
  switch (asked?.attrs.query_id) {
    case QueryIds.REACHOUT_TIMELOCK:
      return found({ xwa2_fetch_account_reachout_timelock: timelock(question) })
    case QueryIds.MESSAGE_CAPPING_INFO:
      return found({ xwa2_message_capping_info: { total_quota: NEW_CHATS, used_quota: 0, capping_status: 'NONE' } })
    case QueryIds.CREATE:
      return refused(NOT_ALLOWED)
    default:
      return isAboutChannel(textOf(asked)) ? refused(NOT_FOUND) : null
  }
}

function isAboutChannel(body: string): boolean {
  return /"newsletter_id"|"key"/.test(body)
}

const found = (data: object): IqAnswer => ({ content: [el('result', {}, Buffer.from(JSON.stringify({ data })))] })

const refused = (error: object): IqAnswer => ({
  content: [el('result', {}, Buffer.from(JSON.stringify({ data: null, errors: [error] })))],
})

function timelock({ sim, companion }: IqQuestion) {
  const { restrictedUntil } = companion.person
  const isActive = restrictedUntil > sim.now()
  return {
    is_active: isActive,
    time_enforcement_ends: isActive ? String(Math.floor(restrictedUntil / 1000)) : '0',
    enforcement_type: 'DEFAULT',
  }
}
