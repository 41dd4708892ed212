/**
 * The seeds' paths as data: the same routes without `/api`, and `instance` for `instances`. Aliases are rewritten before
 * routing, so they cannot differ from the routes they stand for. A path that a real route has is never rewritten: the
 * server checks that at start.
 */

/** Resources under `/api` that answer without it too. */
const bareResources: readonly string[] = [
  'instances',
  'messages',
  'media',
  'chats',
  'contacts',
  'webhooks',
  'deliveries',
  'events',
  'live',
  'keys',
  'dead-letters',
  'cluster',
  'tenants',
  'users',
  'audit',
  'personas',
  'automations',
  'conversations',
  'opt-outs',
  'outreach',
  'stats',
  'memory',
  'health/check',
]

/** Under an alias's name, but routes of their own: other systems were told these URLs. */
const notAliases: readonly string[] = ['/webhooks/mercadopago']

const bare = new RegExp(`^/(${bareResources.join('|')})(?=[/?]|$)`)
const singular = /^(\/api)?\/instance(?=[/?]|$)/

/** The canonical form of a request's path and query. Pure. */
export function canonicalUrl(url: string): string {
  // Nearly all requests: canonical as they are.
  if (url.startsWith('/api/') && !url.startsWith('/api/instance')) return url
  if (notAliases.some((path) => url === path || url.startsWith(`${path}?`) || url.startsWith(`${path}/`))) return url
  return url.replace(singular, '/api/instances').replace(bare, '/api/$1')
}
