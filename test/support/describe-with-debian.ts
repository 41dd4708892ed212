import { describe } from 'vitest'
import { requireDebian } from './debian.js'

/**
 * The suite of tests that need packages of Debian, which are installed. Where that cannot be they are skipped by name; with
 * CI=true that is a failure.
 */
export function describeWithDebian(packages: readonly string[], title: string, body: () => void): void {
  try {
    requireDebian(packages)
  } catch (error) {
    if (process.env.CI === 'true') throw error
    return void describe.skip(`${title} (skipped: ${error instanceof Error ? error.message : error})`, body)
  }
  describe(title, body)
}
