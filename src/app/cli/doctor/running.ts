/** What the running server tells to whoever has a key: numbers, processes, dead letters, webhook endpoints. */
import type { DependencyReport } from '../../../kernel/dependency.js'
import { type ApiClient, ApiError } from '../api-client.js'
import { type Cluster, readCluster } from '../cluster.js'
import { inWords } from '../terminal.js'
import { type Finding, ok, problem, warning } from './finding.js'

/** Of an endpoint, as many of the newest deliveries are looked at. */
const DELIVERIES = 20
const MAX_ENDPOINTS = 100

/** What a key may not see is told, and the rest is checked all the same. */
export async function checkRunning(client: ApiClient): Promise<Finding[]> {
  const findings: Finding[] = []
  const cluster = await readCluster(client).catch(() => undefined)
  if (cluster) findings.push(...judgeCluster(cluster), ...judgeDependencies(cluster.dependencies))
  for (const look of [checkInstances, checkDeadLetters, checkEndpoints]) {
    try {
      findings.push(...(await look(client, cluster)))
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return [...findings, judgeRefusal(error)]
    }
  }
  return findings
}

export const noKey = (): Finding =>
  warning(
    'api-key',
    'none is set, so numbers, dead letters and webhooks were not looked at',
    'Set MIRANTE_API_KEY, or use --key.',
  )

function judgeRefusal(error: ApiError): Finding {
  return error.status === 401 || error.status === 403
    ? problem('api-key', error.message, 'Use a key of this Mirante that has the scope read.')
    : problem('api', error.message, 'Look at the log of the server.')
}

/** Pure, like those below. */
export function judgeCluster({ processes, problems }: Cluster): Finding[] {
  const gone = processes.filter(({ alive }) => alive === false)
  const versions = new Set(processes.filter(({ alive }) => alive !== false).map(({ version }) => version))
  const count = `${processes.length - gone.length} processes`
  const findings: Finding[] = []
  if (gone.length > 0) {
    const names = gone.map(({ replica, role, slot }) => `${replica}/${role}/${slot}`).join(', ')
    findings.push(
      warning('cluster', `${names} is gone and still held something`, 'Look again in a minute: mirante cluster'),
    )
  }
  findings.push(...problems.map(({ found, action }) => warning('cluster', found, action)))
  return findings.length > 0 ? findings : [ok('cluster', `${count} of version ${[...versions].join()}`)]
}

/** As the server itself finds them. */
export function judgeDependencies(dependencies: readonly DependencyReport[]): Finding[] {
  return dependencies.flatMap(({ name, status, problems, version, latencyMs, meanwhile }) => {
    const known = version === null ? name : `${name} ${version}`
    if (problems.length === 0 && status === 'up') return [ok(name, `${known} answers the server in ${latencyMs} ms`)]
    if (problems.length === 0) return [problem(name, `${known} is ${status}`, 'Look at its log.')]
    const judge = status === 'down' ? problem : warning
    return problems.map(({ found, action }) => judge(name, `${found} ${meanwhile ?? ''}`.trim(), action))
  })
}

export interface CheckedInstance {
  readonly id: string
  readonly name: string
  readonly enabled: boolean
  readonly connectionStatus: string
  readonly reason: string | null
  readonly since: string
  readonly healthy: boolean
}

async function checkInstances(client: ApiClient, cluster: Cluster | undefined): Promise<Finding[]> {
  const { instances } = await client.post<{ instances: readonly CheckedInstance[] }>('/api/health/check')
  const wrong = instances.filter(({ healthy }) => !healthy)
  const sound = ok(
    'instances',
    `${instances.length - wrong.length} of ${instances.length} are as their owners want them`,
  )
  const now = Date.now()
  return [sound, ...wrong.map((instance) => judgeInstance(instance, { isHeld: isHeld(instance, cluster), now }))]
}

/** Where nobody can tell, it is not said. */
function isHeld({ id }: CheckedInstance, cluster: Cluster | undefined): boolean {
  if (!cluster) return true
  return cluster.leases.some(({ instanceId, holder }) => instanceId === id && holder !== null && holder.alive !== false)
}

export function judgeInstance(
  { id, name, connectionStatus, reason, since }: CheckedInstance,
  { isHeld, now }: { readonly isHeld: boolean; readonly now: number },
): Finding {
  const held = isHeld ? '' : '; no gateway holds it'
  const why = reason === null ? '' : ` (${reason})`
  const found = `${name} is ${connectionStatus}${why} for ${inWords(now - Date.parse(since))}${held}`
  const restart = `POST /api/instances/${id}/restart`
  switch (connectionStatus) {
    case 'QR_REQUIRED':
      return reason === 'QR_EXPIRED'
        ? warning('instance', found, `Start anew, then scan: ${restart}, mirante qr ${name}`)
        : warning('instance', found, `Scan its QR: mirante qr ${name}`)
    case 'AUTH_FAILURE':
      return problem(
        'instance',
        found,
        `WhatsApp refuses its login. Start anew, then scan: ${restart}, mirante qr ${name}`,
      )
    case 'DISCONNECTED':
      return problem('instance', found, `Mirante tries no longer. Start anew: ${restart}`)
    default:
      return isHeld
        ? warning('instance', found, `Mirante is at it. Follow it: mirante tail --instance ${name}`)
        : problem('instance', found, 'Start a gateway: mirante serve, with the role gateway.')
  }
}

async function checkDeadLetters(client: ApiClient): Promise<Finding[]> {
  const kinds = new Map<string, number>()
  for await (const { kind } of client.list<{ kind: string }>('/api/dead-letters')) {
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  if (kinds.size === 0) return [ok('dead-letters', 'none')]
  const found = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')
  return [problem('dead-letters', found, 'Look at them: mirante dlq list. Then mirante dlq retry or discard.')]
}

export interface CheckedEndpoint {
  readonly id: string
  readonly url: string
  readonly enabled: boolean
  readonly disabledReason: string | null
  readonly circuit: { readonly state: string; readonly failingSince: string | null }
}

export interface CheckedDelivery {
  readonly status: 'pending' | 'delivered' | 'exhausted' | 'dropped'
  readonly attemptCount: number
}

async function checkEndpoints(client: ApiClient): Promise<Finding[]> {
  const findings: Finding[] = []
  let count = 0
  for await (const endpoint of client.list<CheckedEndpoint>('/api/webhooks')) {
    count += 1
    if (count > MAX_ENDPOINTS) break
    const path = `/api/webhooks/${endpoint.id}/deliveries?limit=${DELIVERIES}`
    const { data } = endpoint.enabled ? await client.get<{ data: readonly CheckedDelivery[] }>(path) : { data: [] }
    const finding = judgeEndpoint(endpoint, data)
    if (finding) findings.push(finding)
  }
  const looked = count > MAX_ENDPOINTS ? `the newest ${MAX_ENDPOINTS}` : String(count)
  return findings.length > 0 ? findings : [ok('webhooks', `${looked} endpoints, none disabled or failing`)]
}

/** Undefined when all is well. @param deliveries the newest first */
export function judgeEndpoint(endpoint: CheckedEndpoint, deliveries: readonly CheckedDelivery[]): Finding | undefined {
  const name = `${endpoint.id} (${originOf(endpoint.url)})`
  return endpoint.enabled ? judgeEnabled(name, endpoint, deliveries) : judgeDisabled(name, endpoint)
}

function judgeDisabled(name: string, { id, disabledReason }: CheckedEndpoint): Finding {
  const action = `Enable it when it should be called again: PATCH /api/webhooks/${id} {"enabled": true}`
  if (disabledReason === null) return warning('webhooks', `${name} is disabled by its owner`, action)
  const why = disabledReason === 'gone' ? 'it answered 410' : disabledReason
  return problem('webhooks', `${name} was disabled by Mirante: ${why}`, action)
}

function judgeEnabled(
  name: string,
  { id, circuit }: CheckedEndpoint,
  deliveries: readonly CheckedDelivery[],
): Finding | undefined {
  const look = `See what it answers: mirante trigger webhook.tested --endpoint ${id}`
  if (circuit.state !== 'closed') {
    const since = circuit.failingSince === null ? '' : ` since ${circuit.failingSince}`
    return problem('webhooks', `${name} has been failing${since}; its deliveries wait`, look)
  }
  const tried = deliveries.filter(({ attemptCount, status }) => attemptCount > 0 && status !== 'dropped')
  const failing = tried.filter(({ status }) => status !== 'delivered')
  if (failing.length === 0) return undefined
  const found = `${name}: ${failing.length} of the last ${tried.length} deliveries have failed`
  // The newest that was tried tells how it is now.
  if (tried[0]?.status !== 'delivered') return problem('webhooks', found, look)
  const action = 'They are tried again by themselves; mirante dlq list shows those that gave up.'
  return warning('webhooks', `${found}; it answers again`, action)
}

/** The path may hold a token. */
const originOf = (url: string): string => (URL.canParse(url) ? new URL(url).origin : 'not a URL')
