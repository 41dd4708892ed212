import { AppError, errorCatalogue } from '../kernel/errors.js'
import { errorText } from '../kernel/logger.js'

/** Why roles could not start, for a person. `final`: another try would end the same way. */
export interface StartFailure {
  readonly message: string
  readonly final: boolean
}

const final = (message: string): StartFailure => ({ message, final: true })

export function startFailure(error: unknown): StartFailure {
  const { code, port, address } = (error ?? {}) as { code?: unknown; port?: unknown; address?: unknown }
  switch (code) {
    case 'EADDRINUSE':
      return final(`Port ${port} is in use by another program. End it, or set PORT to a free one.`)
    case 'EACCES':
      return final(`This user may not listen on port ${port}. Set PORT to 1024 or more.`)
    case 'EADDRNOTAVAIL':
      return final(`This machine has no address ${address}. Correct HOST.`)
    case 'ERR_MODULE_NOT_FOUND':
      return final(`A module is missing: ${errorText(error)}. Install and build again: npm ci && npm run build`)
    default:
      return { message: sentenceOf(error), final: false }
  }
}

/** What happened and what to do about it. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof AppError)) return errorText(error)
  const { title, action } = errorCatalogue[error.code]
  return [title, error.detail, action].filter((part) => part !== undefined).join(' ')
}
