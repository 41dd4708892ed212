import { dispatchContract } from './dispatch.contract.js'
import { createPostgresDispatcher } from './postgres.js'

dispatchContract(createPostgresDispatcher)
