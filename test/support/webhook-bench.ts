/** What every test of deliveries does: workers, registered endpoints, and waiting for what becomes of them. */
import sql from 'sql-template-tag'
import { afterEach, beforeEach, expect } from 'vitest'
import type { Service } from '../../src/kernel/service.js'
import { eventually } from './eventually.js'
import { startWebhookReceiver, type WebhookReceiver } from './webhook-receiver.js'
import type { ApiAnswer, WebhookWorld, WorkerOverrides } from './webhook-world.js'

export interface RegisteredEndpoint {
  readonly id: string
  readonly secret: string
  readonly url: string
}

/**
 * For a test file: each test gets a receiver of its own, and leaves no worker, endpoint or job behind.
 * @param getWorld the file's world, made before its first test.
 */
export function useWebhookBench(getWorld: () => WebhookWorld) {
  const running: Service[] = []
  let receiver: WebhookReceiver

  beforeEach(async () => {
    receiver = await startWebhookReceiver()
  })
  afterEach(async () => {
    for (const service of running.splice(0)) await service.stop()
    await receiver.stop()
    await getWorld().db.execute(sql`update webhook_endpoint set enabled = false, deleted_at = now()`)
    await getWorld().db.execute(sql`delete from job`)
    await getWorld().db.execute(sql`update delivery set parked_after = null where parked_after is not null`)
  })

  return {
    get receiver() {
      return receiver
    },
    work,
    register,
    deliveriesOf,
    deliveryOf,
    got: (count: number) => receiver.waitFor(() => receiver.verified.length >= count, `${count} deliveries`),
    quiet,
  }

  async function work(overrides?: WorkerOverrides): Promise<Service> {
    const worker = await getWorld().startWorker(overrides)
    running.push(worker)
    return worker
  }

  /** The receiver trusts what the endpoint signs. */
  async function register(body: object = {}, options: { as?: string } = {}): Promise<RegisteredEndpoint> {
    const { status, body: endpoint } = await getWorld().api('POST', '/api/webhooks', {
      body: { url: receiver.url, ...body },
      ...options,
    })
    expect(status).toBe(201)
    receiver.trust(endpoint.secret)
    return endpoint
  }

  async function deliveriesOf(endpoint: { id: string }): Promise<ApiAnswer['body'][]> {
    return (await getWorld().api('GET', `/api/webhooks/${endpoint.id}/deliveries?limit=200`)).body.data
  }

  /** The newest delivery of the endpoint, with its attempts, once it has so many of them. */
  async function deliveryOf(endpoint: { id: string }, attempts: number): Promise<ApiAnswer['body']> {
    let found: ApiAnswer['body']
    await eventually(async () => {
      const [delivery] = await deliveriesOf(endpoint)
      if (!delivery || delivery.attemptCount < attempts) return false
      found = (await getWorld().api('GET', `/api/deliveries/${delivery.id}`)).body
      return true
    }, `${attempts} attempts`)
    return found
  }

  /** Everything that was recorded has been delivered or given up. */
  function quiet(): Promise<void> {
    // A circuit that is open keeps its job, whether or not anything waits for it.
    const left = sql`
      select from job where state in ('ready', 'running') and kind <> 'release-deliveries'
      union all select from delivery where parked_after is not null`
    return eventually(async () => (await getWorld().db.query(left)).length === 0, 'no job is left')
  }
}
