import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Simulator, startSimulator } from './index.js'

const HELP = `simulator [--port 3999] [--host 127.0.0.1] [--seed 1] [--latency-ms 150] [--json]
          [--decrypt all|contacts|none] [--trace-limit 200000] [--no-initial-sync] [--strict]
          [--ca-file PATH] [--media-host HOST:PORT] [--test-group ID]`

/** The simulator as a process of its own: it outlives the gateway it judges, however often that is killed. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '3999' },
      host: { type: 'string', default: '127.0.0.1' },
      seed: { type: 'string', default: '1' },
      'latency-ms': { type: 'string', default: '150' },
      decrypt: { type: 'string', default: 'all' },
      'trace-limit': { type: 'string', default: '200000' },
      'no-initial-sync': { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      'ca-file': { type: 'string' },
      'media-host': { type: 'string' },
      'test-group': { type: 'string', default: process.env.TEST_GROUP ?? '' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return print(HELP)
  const simulator = await startSimulator({
    port: number(values.port, 'port'),
    host: values.host,
    seed: number(values.seed, 'seed'),
    latencyMs: number(values['latency-ms'], 'latency-ms'),
    traceLimit: number(values['trace-limit'], 'trace-limit'),
    decrypt: values.decrypt === 'contacts' || values.decrypt === 'none' ? values.decrypt : 'all',
    initialSync: !values['no-initial-sync'],
    strict: values.strict,
    testGroup: values['test-group'],
    ...(values['media-host'] ? { mediaHost: values['media-host'] } : {}),
  })
  if (values['ca-file']) writeFileSync(values['ca-file'], simulator.caPem)
  announce(simulator, values.json)
  // The judge must outlive whatever it is sent.
  process.on('unhandledRejection', (error) => process.stderr.write(`${String(error)}\n`))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void simulator.stop().then(() => process.exit(0)))
  }
}

function announce({ wsUrl, wssUrl, httpUrl, rootPublicKeyHex, caPem }: Simulator, asJson: boolean): void {
  const ready = { wsUrl, wssUrl, httpUrl, rootPublicKeyHex, caPem }
  print(
    asJson
      ? JSON.stringify(ready)
      : `simulator ready: ${wsUrl} · admin ${httpUrl}/admin · root key ${rootPublicKeyHex}`,
  )
}

function number(text: string, name: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be a whole number, not "${text}"`)
  return value
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
