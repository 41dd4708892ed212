/** Categories of seed 001; each log line has one. */
export type LogCategory = 'INFO' | 'SESSION' | 'RECONNECT' | 'HEALTH' | 'MEMORY' | 'HTTP' | 'JOB' | 'LEASE' | 'WEBHOOK'

/** What may be attached to a log line: ids, counts and codes. Never bodies, secrets or full phone numbers. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

export interface Logger {
  debug(category: LogCategory, message: string, fields?: LogFields): void
  info(category: LogCategory, message: string, fields?: LogFields): void
  warn(category: LogCategory, message: string, fields?: LogFields): void
  error(category: LogCategory, message: string, fields?: LogFields & { readonly error?: string }): void
  /** The same logger with these fields on every line. */
  child(fields: LogFields): Logger
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
}

/** `+5511987654321` → `+55…21`: enough to recognise one's own number in a log, not enough to call it. */
export function maskPhone(phone: string): string {
  return phone.length <= 6 ? '…' : `${phone.slice(0, 3)}…${phone.slice(-2)}`
}

/** The words of an unknown error, without its stack or payload. */
export function errorText(error: unknown): string {
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : 'unknown error'
}
