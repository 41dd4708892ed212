import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import { lidJid, pnJid } from '../wire/jid.js'
import { type BinaryNode, children, el } from '../wire/node-codec.js'
import type { Person } from '../world/world.js'
import { handOver } from './hand-over.js'

export type Call = {
  readonly callId: string
  /** Numbers. */
  readonly from: string
  readonly to: string
  readonly video: boolean
  readonly at: number
  /** `missed`: it rang in vain, or the caller hung up. */
  state: 'ringing' | 'rejected' | 'missed'
  endedAt: number | null
}

const RING_MS = 45_000

/** A person calls an account: all its companions ring, and those that are away hear of it later. */
export function ring(sim: Simulation, caller: Person, account: Person, video: boolean): Call {
  const callId = sim.seeded.bytes(sim.nextId('call'), 16).toString('hex').toUpperCase()
  const call: Call = {
    callId,
    from: caller.phone,
    to: account.phone,
    video,
    at: sim.now(),
    state: 'ringing',
    endedAt: null,
  }
  sim.calls.set(callId, call)
  if (account.blocked.has(caller.phone)) return call
  const kinds = video ? ['audio', 'video'] : ['audio']
  const media = kinds.map((kind) => el(kind, { enc: kind === 'audio' ? 'opus' : 'vp8' }))
  const content = [...media, el('net', { medium: '3' }), el('encopt', { keygen: '2' })]
  tell(sim, caller, account, el('offer', { ...callAttrs(caller, callId), ...alternative(caller) }, content))
  sim.later(RING_MS, () => hangUp(sim, call, 'timeout'))
  return call
}

/** The caller gives up, or it has rung long enough. */
export function hangUp(sim: Simulation, call: Call, reason?: 'timeout'): void {
  if (call.state !== 'ringing') return
  end(sim, call, 'missed')
  const [caller, account] = [sim.world.find(call.from), sim.world.find(call.to)]
  if (caller && account) tell(sim, caller, account, el('terminate', { ...callAttrs(caller, call.callId), reason }))
}

/** A companion answers to a call: only to refuse it, so far. */
export function receiveCall(sim: Simulation, connection: Connection, node: BinaryNode): void {
  const [said] = children(node)
  const { id, to } = node.attrs
  connection.send(el('ack', { class: 'call', id, from: to, type: said?.tag }))
  const call = sim.calls.get(said?.attrs['call-id'] ?? '')
  if (said?.tag !== 'reject') sim.noteUnknown({ xmlns: '', type: 'call', child: said?.tag ?? '' })
  else if (call?.state === 'ringing' && call.to === connection.companion?.person.phone) end(sim, call, 'rejected')
}

function end(sim: Simulation, call: Call, state: 'rejected' | 'missed'): void {
  call.state = state
  call.endedAt = sim.now()
}

function tell(sim: Simulation, caller: Person, account: Person, what: BinaryNode): void {
  const from = caller.habits.addressing === 'lid' ? lidJid(caller.lid) : pnJid(caller.phone)
  for (const companion of account.companions.values()) {
    const attrs = { from, id: sim.nextId('call-stanza'), t: sim.seconds(), notify: caller.name, platform: 'android' }
    handOver(sim, companion, el('call', { ...attrs, version: '2.24.0' }, [what]))
  }
}

function callAttrs({ habits, lid, phone }: Person, callId: string) {
  return { 'call-id': callId, 'call-creator': habits.addressing === 'lid' ? lidJid(lid) : pnJid(phone) }
}

const alternative = ({ habits, phone }: Person) => (habits.addressing === 'lid' ? { caller_pn: pnJid(phone) } : {})
