import { defineConfig } from 'vitest/config'

/** For tests that read sources and touch no service: they start at once, also where no PostgreSQL answers. */
export default defineConfig({ test: { include: ['test/architecture.test.ts'] } })
