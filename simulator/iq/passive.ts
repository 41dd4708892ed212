import { removeCompanion } from '../faults/break-connection.js'
import { bootstrap } from '../phone/bootstrap.js'
import { deliverQueue } from '../router/deliver.js'
import { joinTestGroup } from '../router/test-group.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** `active` opens the floodgate: what waited is delivered, then the live stream begins. */
export function answerPassive({ sim, connection, companion, asked }: IqQuestion): IqAnswer {
  if (asked?.tag !== 'active') {
    connection.session.isActive = false
    return { content: [] }
  }
  const afterwards = () => {
    joinTestGroup(sim, companion.person)
    deliverQueue(sim, connection)
    if (sim.options.initialSync) sim.inBackground(bootstrap(sim, companion))
  }
  return { content: [], afterwards }
}

/** The client logs itself out. */
export function answerDevices({ sim, companion, asked }: IqQuestion): IqAnswer {
  if (asked?.tag !== 'remove-companion-device') return { error: 501, text: 'feature-not-implemented' }
  return { content: [], afterwards: () => removeCompanion(sim, companion) }
}
