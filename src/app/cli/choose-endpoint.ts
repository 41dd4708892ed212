import { UsageError } from '../exit-codes.js'
import type { ApiClient } from './api-client.js'

/** A webhook endpoint as the API shows it. */
export interface Endpoint {
  readonly id: string
  readonly url: string
  readonly events: readonly string[] | null
  readonly enabled: boolean
  readonly disabledReason: string | null
  readonly circuit: { readonly state: string }
}

/** The id of the endpoint that was named, ready for a path; else the only one that is enabled. */
export async function chooseEndpoint(client: ApiClient, wanted: string | undefined): Promise<string> {
  if (wanted !== undefined) return encodeURIComponent(wanted)
  const all = await client.all<Endpoint>('/api/webhooks')
  const endpoints = all.filter(({ enabled }) => enabled)
  const [only, ...others] = endpoints
  if (!only) throw new Error('There is no enabled webhook endpoint. Register one: mirante webhooks add https://…')
  if (others.length === 0) return only.id
  const choice = endpoints.map(({ id, url }) => `\n  ${id}  ${url}`).join('')
  throw new UsageError(`There are several endpoints; name one with --endpoint:${choice}`)
}
