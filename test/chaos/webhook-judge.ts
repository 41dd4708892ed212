/** What G12 promises, held against what a storm has seen. */
import type { Arrival, Endpoint } from './webhook-endpoints.js'
import type { Span, WebhookStorm } from './webhook-storm.js'

/** Of an endpoint, in each worker: see delivery-gate.ts. */
const IN_FLIGHT = 4
/** Answers, or their absence, after which the circuit of one that only fails opens: see circuit.ts. */
const TRIES = 10
/** Of a circuit that is open, one each: see circuit.ts. */
const PROBE_EVERY_MS = 30_000
/** What was loaded just before a rotation may still be signed with the old secret alone. */
const LOADED_MS = 5_000

export interface Latency {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** What does not hold, as sentences. */
export function judgeStorm(storm: WebhookStorm): string[] {
  const { endpoints, inVain, undelivered } = storm
  const problems = inVain.map((what) => `waited in vain: ${what}`)
  for (const endpoint of endpoints.all) problems.push(...judgeEndpoint(storm, endpoint))
  if (endpoints.followed() > 0) problems.push(`a redirect was followed ${endpoints.followed()} times`)
  if (undelivered > 0) problems.push(`${undelivered} deliveries are not delivered in the end`)
  return [...problems, ...judgeGone(storm)]
}

/** Lost, forged, changed, or signed with fewer secrets than there are. */
function judgeEndpoint(storm: WebhookStorm, { name, arrivals, taken, bodies, forged }: Endpoint): string[] {
  const { wanted, known, rotatedAt } = storm
  const events = new Map([...bodies].flatMap(([id, texts]) => [...texts].map((text) => [text, id] as const)))
  const found: readonly (readonly [number, string])[] = [
    [[...wanted].filter((id) => !taken.has(id)).length, 'events were never taken'],
    [[...bodies.keys()].filter((id) => !known.has(id)).length, 'ids are of no event'],
    [[...bodies.values()].filter((texts) => texts.size > 1).length, 'ids came with another body than before'],
    [bodies.size - events.size, 'events came under a second id'],
    [forged(), 'deliveries were not signed as they should be'],
    [
      arrivals.filter(({ at, verifiedBy }) => at > rotatedAt + LOADED_MS && verifiedBy !== 2).length,
      'deliveries after the rotation do not verify under both secrets',
    ],
  ]
  return found.flatMap(([count, what]) => (count > 0 ? [`${name}: ${count} ${what}`] : []))
}

/** Disabled at its first answer: only what was in flight with it has come besides. */
function judgeGone({ gone, endpoints, trouble }: WebhookStorm): string[] {
  const arrived = endpoints.of.gone.arrivals.filter(({ at }) => at <= trouble.to).length
  return [
    ...(gone.enabled || gone.disabledReason !== 'gone' ? ['410 has not disabled its endpoint'] : []),
    ...(arrived > IN_FLIGHT ? [`gone: ${arrived} deliveries, and only ${IN_FLIGHT} can have been in flight`] : []),
  ]
}

/** Those that only fail: the circuit opens at the tenth answer; later there are probes, and what a killed worker had begun. */
export function judgeBreakers(
  { breakers, trouble, deaths }: WebhookStorm,
  names: readonly Endpoint['name'][],
): string[] {
  return breakers
    .filter(({ name }) => names.includes(name))
    .flatMap(({ name, state, triesBefore, tries }) => {
      // What a killed worker had begun was never counted.
      const beside = deaths.length > 0 ? IN_FLIGHT : 0
      const probes = Math.ceil((trouble.to - trouble.from) / PROBE_EVERY_MS) + deaths.length + 1
      return [
        ...(state === 'closed' ? [`${name}: its circuit has not opened`] : []),
        ...(triesBefore > TRIES + beside ? [`${name}: opened after ${triesBefore} tries`] : []),
        ...(tries > TRIES + beside + probes ? [`${name}: ${tries} tries although it was open`] : []),
      ]
    })
}

/**
 * From the event to its first arrival at the healthy endpoint, without the events of a death: nobody delivers while the only
 * process that does is dead. A death begins a second before the kill, since what was under way is taken over some seconds
 * later, and ends two seconds after the next one is ready, which is for what has piled up.
 */
export function latencyAtOk({ endpoints, deaths }: WebhookStorm): { readonly calm: Latency; readonly all: Latency } {
  const first = new Map<string, Arrival>()
  for (const arrival of endpoints.of.ok.arrivals) if (!first.has(arrival.id)) first.set(arrival.id, arrival)
  const isOf = ({ happenedAt }: Arrival, { from, to }: Span) => happenedAt > from - 1_000 && happenedAt < to + 2_000
  const calm = [...first.values()].filter((arrival) => !deaths.some((death) => isOf(arrival, death)))
  return { calm: summarize(calm), all: summarize([...first.values()]) }
}

function summarize(arrivals: readonly Arrival[]): Latency {
  const sorted = arrivals.map(({ at, happenedAt }) => at - happenedAt).toSorted((a, b) => a - b)
  const quantile = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
  return { count: sorted.length, p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) }
}
