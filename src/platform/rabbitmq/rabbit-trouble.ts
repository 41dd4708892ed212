/** What may be wrong with RabbitMQ, and what a person is told of it. Pure. */
import type { DependencyProblem } from '../../kernel/dependency.js'
import { errorText } from '../../kernel/logger.js'

export interface Trouble {
  /** refused: the login, the virtual host, or what we want to declare. alarm: its memory or disk is full. */
  readonly code: 'unreachable' | 'refused' | 'alarm' | 'unconfirmed'
  readonly words: string
}

/** Replies of the server that no repetition changes. */
const REFUSALS = new Set([
  'ACCESS_REFUSED',
  'NOT_ALLOWED',
  'PRECONDITION_FAILED',
  'NOT_IMPLEMENTED',
  'VERSION_MISMATCH',
  'INVALID_PATH',
])

/** As `amqp://` has it where nobody says otherwise; the library would log in with no name at all. */
export function readRabbitUrl(text: string): string {
  const url = new URL(text)
  if (url.username === '') {
    url.username = 'guest'
    url.password = 'guest'
  }
  return url.toString()
}

export function troubleOf(error: unknown): Trouble {
  const code = (error as { readonly code?: unknown } | null)?.code
  const refused = typeof code === 'string' && REFUSALS.has(code)
  return { code: refused ? 'refused' : 'unreachable', words: errorText(error).slice(0, 200) }
}

/** @param answers whether it takes messages now */
export function problemsOf(troubles: readonly Trouble[], answers: boolean): DependencyProblem[] {
  const distinct = [...new Map(troubles.map((trouble) => [trouble.code, trouble])).values()]
  if (distinct.length === 0 && !answers) return [describe({ code: 'unreachable', words: 'no connection yet' })]
  return distinct.map(describe)
}

function describe({ code, words }: Trouble): DependencyProblem {
  switch (code) {
    case 'unreachable':
      return {
        code,
        found: `RabbitMQ does not answer: ${words}.`,
        action: 'Look whether it runs, and whether the URL names it; Mirante connects by itself when it is back.',
      }
    case 'refused':
      return {
        code,
        found: `RabbitMQ refuses us: ${words}.`,
        action: 'Look at the user, the password and the virtual host in the URL, and at the rights of that user.',
      }
    case 'alarm':
      return {
        code: /disk/i.test(words) ? 'disk_alarm' : 'memory_alarm',
        found: `RabbitMQ takes no messages: ${words}.`,
        action: 'Free memory or disk at the server; see rabbitmq-diagnostics alarms.',
      }
    case 'unconfirmed':
      return {
        code,
        found: `RabbitMQ is connected and confirms nothing: ${words}.`,
        action:
          'Look at rabbitmq-diagnostics status; a queue that lost its leader has to be deleted, see docs/brokers.md.',
      }
  }
}
