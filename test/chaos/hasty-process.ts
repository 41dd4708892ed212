/** Mirante that waits a hundredth of the time after it was replaced (440), and counts over the same five minutes. Configured like `serve`. */
import { defaultReconnectPolicy } from '../../src/features/instances/reconnect-policy.js'
import { serveComposed } from '../support/serve-composed.js'

const replacedBaseMs = defaultReconnectPolicy.replacedBaseMs / 100
await serveComposed({ reconnectPolicy: { ...defaultReconnectPolicy, replacedBaseMs, jitterMs: 20 } })
