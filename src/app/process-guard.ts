import { writeSync } from 'node:fs'
import { EXIT } from './exit-codes.js'

/**
 * After an error that nobody caught, the state of the process is unknown, so nothing of it is saved: it says why and ends.
 * What was promised is in the database; the next process goes on from there.
 *
 * @param last what must still be done, synchronously: ending a child, never saving
 */
export function guardProcess(last: () => void = () => {}): void {
  const end = (error: unknown): void => {
    try {
      // Synchronous, past the logger: a line in a buffer would die with the process.
      writeSync(2, `${new Date().toISOString()} uncaught error, ending: ${describe(error)}\n`)
      last()
    } finally {
      process.exit(EXIT.broken)
    }
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

/** Stack and message only: properties of an error may hold what was being processed. */
function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : 'not an Error'
}
