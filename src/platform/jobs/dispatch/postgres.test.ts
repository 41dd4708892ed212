import { bellsContract } from './bells.contract.js'
import { dispatchContract } from './dispatch.contract.js'
import { createPostgresDispatcher } from './postgres.js'
import { createPostgresBells } from './postgres-bells.js'

dispatchContract({
  reach: 'every worker',
  open: async (db) => ({ dispatcher: createPostgresDispatcher(db), close: async () => {} }),
})

bellsContract({
  reach: 'every process',
  open: async (db) => ({ bells: createPostgresBells(db), close: async () => {} }),
})
