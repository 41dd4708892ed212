/** What can go wrong with a connection as a whole, wherever it happens. */
export const CONNECTION_ACTIONS = [
  'kill',
  'replaced',
  'logged-out',
  'stream-error',
  'stream-end',
  'socket-close',
  'silence',
  'garbage-frame',
  'invalid-node',
  'unknown-stanza',
] as const

/** Where each other action happens; a rule cannot move them. */
const HOME = {
  drop: 'stanza',
  nack: 'message',
  garble: 'message',
  'early-receipt': 'ack',
  'withhold-ack': 'ack',
  'delay-ack': 'ack',
  'bad-mac': 'delivery',
  duplicate: 'delivery',
  'duplicate-reencrypted': 'delivery',
  undecryptable: 'delivery',
  'hide-number': 'delivery',
  'login-failure': 'login',
  'http-503': 'upgrade',
  'no-hello': 'upgrade',
  'bad-certificate': 'upgrade',
  'false-prekey-signature': 'bundle',
  'iq-error': 'iq',
} as const

/**
 * Places where rules are asked:
 * `upgrade` before the websocket is accepted · `login` when credentials arrive · `stanza` when any stanza of the client
 * arrives, before anything is done with it · `message` when a message is about to be accepted · `before-ack` when it is
 * routed and not yet acknowledged · `ack` about the acknowledgement itself · `after-ack` · `delivery` when a message goes
 * to the client · `after-delivery` when it has gone · `bundle` when prekeys are handed out · `iq` when a question is about
 * to be answered: there `tag` is its xmlns and `id` the tag of its first child.
 */
export const FAULT_POINTS = [
  'now',
  'upgrade',
  'login',
  'stanza',
  'message',
  'before-ack',
  'ack',
  'after-ack',
  'delivery',
  'after-delivery',
  'bundle',
  'iq',
] as const

export type FaultPoint = (typeof FAULT_POINTS)[number]
export type ConnectionAction = (typeof CONNECTION_ACTIONS)[number]
export type FaultAction = ConnectionAction | keyof typeof HOME

export type FaultRule = {
  readonly action: FaultAction
  /** For connection actions; the others have one place. Without it a connection action happens `now`. */
  readonly at?: FaultPoint
  /** Number of the account, number of the contact, tag or id of the stanza: what is absent matches everything. */
  readonly account?: string
  readonly contact?: string
  readonly tag?: string
  readonly id?: string
  /** Let so many matches pass first. */
  readonly after?: number
  /** How often it happens; once by default. */
  readonly count?: number | 'forever'
  readonly probability?: number
  /** Delay in milliseconds (`delay-ack`, `early-receipt`). */
  readonly ms?: number
  /** Code of `stream-error` (515, 503 …; 0: none) and of `socket-close` (1011). */
  readonly code?: number
  /** Reason of `login-failure` (401, 403, 405, 463 …). */
  readonly reason?: number
  /** Code of `nack` (463, 479, 500 …) and of `iq-error`. */
  readonly error?: number
}

export type ActiveFault = FaultRule & {
  readonly faultId: string
  readonly point: FaultPoint
  seen: number
  fired: number
}
export type FaultSubject = {
  account?: string | undefined
  contact?: string | undefined
  tag?: string | undefined
  id?: string | undefined
}

export type Faults = {
  add(rule: FaultRule): ActiveFault
  list(): ActiveFault[]
  remove(faultId: string): boolean
  clear(): void
  /** The rules that fire here and now; each counts as fired. */
  take(point: FaultPoint, subject: FaultSubject): ActiveFault[]
}

export function createFaults(random: () => number): Faults {
  const active = new Map<string, ActiveFault>()
  let drawn = 0
  return {
    add(rule) {
      const fault = { ...rule, faultId: `fault-${++drawn}`, point: pointOf(rule), seen: 0, fired: 0 }
      active.set(fault.faultId, fault)
      return fault
    },
    list: () => [...active.values()],
    remove: (faultId) => active.delete(faultId),
    clear: () => active.clear(),
    take(point, subject) {
      if (active.size === 0) return []
      return [...active.values()].filter((fault) => fault.point === point && fires(fault, subject, random))
    },
  }
}

export function isConnectionAction(action: FaultAction): action is ConnectionAction {
  return (CONNECTION_ACTIONS as readonly string[]).includes(action)
}

export function isFaultAction(text: unknown): text is FaultAction {
  return typeof text === 'string' && (text in HOME || (CONNECTION_ACTIONS as readonly string[]).includes(text))
}

export const FAULT_ACTIONS: readonly string[] = [...CONNECTION_ACTIONS, ...Object.keys(HOME)]

export function pointOf(rule: FaultRule): FaultPoint {
  return isConnectionAction(rule.action) ? (rule.at ?? 'now') : HOME[rule.action]
}

function fires(fault: ActiveFault, subject: FaultSubject, random: () => number): boolean {
  if (!matches(fault, subject)) return false
  fault.seen++
  if (fault.seen <= (fault.after ?? 0)) return false
  if (fault.count !== 'forever' && fault.fired >= (fault.count ?? 1)) return false
  if (fault.probability !== undefined && random() >= fault.probability) return false
  fault.fired++
  return true
}

function matches(fault: FaultRule, subject: FaultSubject): boolean {
  return (['account', 'contact', 'tag', 'id'] as const).every(
    (name) => fault[name] === undefined || fault[name] === subject[name],
  )
}
