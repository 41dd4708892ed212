/** A process that starts the embedded PostgreSQL on a directory, for tests that kill it. Says what happens as JSON lines. */
import { silentLogger } from '../../src/kernel/logger.js'
import { startEmbeddedPostgres } from '../../src/platform/database/embedded.js'

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

try {
  const postgres = await startEmbeddedPostgres({ directory: process.argv[2] ?? '', logger: silentLogger })
  postgres.onExit(() => say({ exited: true }))
  process.on('SIGTERM', () => void postgres.stop().then(() => process.exit(0)))
  say({ url: postgres.url, pid: postgres.pid, adopted: postgres.adopted })
} catch (error) {
  say({ error: String(error), code: (error as { code?: unknown }).code })
  process.exitCode = 1
}
