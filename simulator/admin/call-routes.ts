import { type Call, hangUp, ring } from '../router/calls.js'
import type { Simulation } from '../simulation.js'
import { findAccount } from './account-routes.js'
import { BadInput, phoneFrom, type Route, requiredText } from './route.js'

export function callRoutes(sim: Simulation): Route[] {
  const callsOf = (phone: string): Call[] => [...sim.calls.values()].filter(({ from }) => from === phone)
  return [
    {
      method: 'POST',
      path: '/admin/contacts/:phone/call',
      handle({ params, json }) {
        const { to, video = false } = json()
        if (typeof video !== 'boolean') throw new BadInput('"video" must be true or false')
        const caller = sim.world.find(phoneFrom(params.phone))
        if (!caller) throw new BadInput(`${params.phone} is not on WhatsApp; create it with POST /admin/contacts`, 404)
        return { body: ring(sim, caller, findAccount(sim, phoneFrom(to, 'to')), video) }
      },
    },
    {
      method: 'POST',
      path: '/admin/contacts/:phone/hang-up',
      handle({ params, json }) {
        const callId = requiredText(json().callId, 'callId')
        const call = callsOf(phoneFrom(params.phone)).find((each) => each.callId === callId)
        if (!call) throw new BadInput(`${params.phone} makes no such call`, 404)
        hangUp(sim, call)
        return { body: call }
      },
    },
    {
      method: 'GET',
      path: '/admin/contacts/:phone/calls',
      handle: ({ params }) => ({ body: { calls: callsOf(phoneFrom(params.phone)) } }),
    },
  ]
}
