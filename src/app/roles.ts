/** What a process of Mirante does, and which processes `serve` starts. */
export const allRoles = ['web', 'gateway', 'worker', 'scheduler'] as const

/**
 * web: the HTTP API. gateway: holds numbers, their sockets and their sending. worker: jobs, such as webhook deliveries.
 * scheduler: recurring tasks, one process at a time under a lease.
 */
export type Role = (typeof allRoles)[number]

export interface ProcessPlan {
  /** As in logs and in the process table: `web`, `gateway-1`, or `all`. */
  readonly name: string
  readonly roles: readonly Role[]
  /** Tells processes of one role apart: 0 for the first. */
  readonly slot: number
}

export interface Layout {
  readonly roles: readonly Role[]
  /** Gateway processes. */
  readonly gateways: number
  /** All roles in one process: for tiny machines. */
  readonly single: boolean
}

/** The processes for a layout: the gateways apart, so that an answer of the API never waits for encryption. Pure. */
export function planProcesses({ roles, gateways, single }: Layout): ProcessPlan[] {
  if (single) return [{ name: 'all', roles, slot: 0 }]
  const beside = roles.filter((role) => role !== 'gateway')
  const plans: ProcessPlan[] = beside.length > 0 ? [{ name: beside[0] ?? 'web', roles: beside, slot: 0 }] : []
  if (roles.includes('gateway')) {
    for (let slot = 0; slot < gateways; slot++) plans.push({ name: `gateway-${slot}`, roles: ['gateway'], slot })
  }
  return plans
}

/** `web,worker` → the roles in their order; undefined when a word is no role or none is named. */
export function parseRoles(text: string): Role[] | undefined {
  const words = text.split(',').map((word) => word.trim())
  if (words.some((word) => !(allRoles as readonly string[]).includes(word))) return undefined
  return allRoles.filter((role) => words.includes(role))
}
