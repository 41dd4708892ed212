import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'simulator/**/*.test.ts', 'test/*.test.ts', 'test/e2e/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // Most of a test's time is waiting: for PostgreSQL, for processes, for a clock. One more than the build machine's cores.
    maxWorkers: 3,
    // Bounds against hanging, not expectations: a busy machine may take many times longer than usual. What waits for a
    // condition gives up earlier, and says what it saw.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
  },
})
