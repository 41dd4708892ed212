/** `npm run check`: everything that can be judged without running the product. */
import { requireNode } from './lib/node-version.mjs'

requireNode()
const { ensureInstalled } = await import('./lib/install.mjs')
const { runSteps } = await import('./lib/steps.mjs')

ensureInstalled({ dev: true })
runSteps([
  { name: 'format and lint', command: ['biome', 'check', '--error-on-warnings'] },
  { name: 'type-aware lint', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  {
    name: 'architecture',
    command: ['vitest', 'run', '--config', 'vitest.pure.config.ts', 'test/architecture.test.ts'],
  },
  { name: 'dead code', command: ['knip'] },
  { name: 'generated docs', command: ['tsx', 'scripts/docs-config.ts', '--check'] },
])
