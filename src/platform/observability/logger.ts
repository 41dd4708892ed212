/**
 * The logger, on pino. Two formats: `json`, one object a line; `line`, the format of seed 001:
 * `[2024-01-15 10:30:45] [INFO] [SESSION] [instance] message key=value`, times in UTC, `-` where no instance is meant.
 * Lines are written at once: what was logged before a crash is there after it.
 */
import pino from 'pino'
import type { LogCategory, LogFields, Logger } from '../../kernel/logger.js'
import { allowedFields, type LogValue, scrub } from './log-fields.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LoggerOptions {
  /** The least level that is written. */
  readonly logLevel: LogLevel
  readonly logFormat: 'json' | 'line'
  /** Where lines go. @default standard output; a command line tool passes standard error's 2. */
  readonly destination?: number | { write(line: string): void }
  readonly now?: () => number
}

type Write = (level: LogLevel, category: LogCategory, message: string, fields: Record<string, LogValue>) => void

const ranks: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

export function createLogger({ logLevel, logFormat, destination = 1, now = Date.now }: LoggerOptions): Logger {
  const sink = typeof destination === 'number' ? openSink(destination) : destination
  const write = logFormat === 'json' ? jsonWriter(sink, now) : lineWriter(sink, now)
  return loggerWith({})

  function loggerWith(inherited: LogFields): Logger {
    const log = (level: LogLevel) => (category: LogCategory, message: string, fields?: LogFields) => {
      if (ranks[level] < ranks[logLevel]) return
      write(level, category, scrub(message), allowedFields({ ...inherited, ...fields }))
    }
    return {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      child: (fields) => loggerWith({ ...inherited, ...fields }),
    }
  }
}

/** A reader that has gone or a full disk costs lines, never the process. */
function openSink(fd: number): { write(line: string): void } {
  const sink = pino.destination({ fd, sync: true })
  sink.on('error', () => {})
  return { write: (line) => void sink.write(line) }
}

function jsonWriter(sink: { write(line: string): void }, now: () => number): Write {
  const json = pino(
    {
      level: 'debug',
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date(now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  )
  return (level, category, message, fields) => json[level]({ category, ...fields }, message)
}

function lineWriter(sink: { write(line: string): void }, now: () => number): Write {
  return (level, category, message, { instance, instanceId, ...rest }) => {
    const time = new Date(now()).toISOString().slice(0, 19).replace('T', ' ')
    const about = instanceId ?? instance ?? '-'
    const pairs = Object.entries(rest).map(([name, value]) => ` ${name}=${quoted(value)}`)
    sink.write(`[${time}] [${level.toUpperCase()}] [${category}] [${about}] ${oneLine(message)}${pairs.join('')}\n`)
  }
}

/** Quoted where it would otherwise read as two pairs. */
const quoted = (value: LogValue): string =>
  typeof value === 'string' && !/^[\w.:/@+…,-]+$/.test(value) ? JSON.stringify(value) : String(value)

/** A line stays one line: no text from outside may forge another. */
const oneLine = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  text.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, (char) => JSON.stringify(char).slice(1, -1))
