/** The control of P1: our own web role, but each request in a commit of its own. It must miss the gate. */
import { serveComposed } from '../../test/support/serve-composed.js'

await serveComposed({ maxAcceptBatch: 1 }, ['web'])
