import { idFromColumn, type TenantId } from '../../kernel/ids.js'

/**
 * The one tenant that every installation begins with. Its id is the same everywhere: it is made without looking, by
 * whichever process comes first.
 */
export const DEFAULT_TENANT_ID: TenantId = idFromColumn('ten', '00000000-0000-7000-8000-000000000001')
export const DEFAULT_TENANT_NAME = 'default'
