import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import { scopes } from '../../platform/http/route.js'
import type { ApiKey } from './api-key.js'

export const apiKeyView = z.object({
  id: z.string(),
  name: z.string(),
  /** How the key begins, to recognise it by. */
  prefix: z.string(),
  scopes: z.array(z.enum(scopes)),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
})

/** With the key itself: the only time it is shown. */
export const newApiKeyView = apiKeyView.extend({ key: z.string() })

export function showApiKey(key: ApiKey): z.infer<typeof apiKeyView> {
  return {
    id: publicId('key', key.id),
    name: key.name,
    prefix: key.publicId === 'bootstrap' ? 'BOOTSTRAP_API_KEY' : `mir_${key.publicId}_`,
    scopes: [...key.scopes],
    createdAt: key.createdAt.toISOString(),
    expiresAt: key.expiresAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
    lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  }
}
