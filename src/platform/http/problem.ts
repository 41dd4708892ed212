/**
 * Errors as RFC 9457 problem documents. What is no AppError is `internal`: logged with the traceId, and nothing of it is
 * told to the caller.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, type ErrorCode, errorCatalogue, type FieldError } from '../../kernel/errors.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import { isDatabaseUnavailable } from '../database/database.js'

export interface Problem {
  /** The page of our docs about this code. */
  readonly type: string
  readonly title: string
  readonly status: number
  /** What is special about this occurrence. */
  readonly detail?: string
  readonly code: ErrorCode
  /** What the caller should do now. */
  readonly action: string
  readonly errors?: readonly FieldError[]
  readonly traceId: string
  /** Seconds. */
  readonly retryAfter?: number
}

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** Seconds to wait where the error itself does not say. */
const usualRetryAfter: Readonly<Partial<Record<ErrorCode, number>>> = {
  idempotency_in_progress: 1,
  rate_limited: 1,
  overloaded: 5,
  database_unavailable: 2,
  media_pending: 2,
  storage_unavailable: 5,
  shutting_down: 1,
  lease_lost: 1,
}

export function problemOf(error: AppError, traceId: string): Problem {
  const { title, status, action } = errorCatalogue[error.code]
  const retryAfter = error.retryAfterSeconds ?? usualRetryAfter[error.code]
  return {
    type: `/docs/errors#${error.code}`,
    title,
    status,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    code: error.code,
    action,
    ...(error.errors.length === 0 ? {} : { errors: error.errors }),
    traceId,
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...error.extension,
  }
}

export function sendProblem(reply: FastifyReply, error: AppError, traceId: string): FastifyReply {
  const problem = problemOf(error, traceId)
  if (problem.retryAfter !== undefined) reply.header('retry-after', String(problem.retryAfter))
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="mirante"')
  // A string passes the route's response schema by, which speaks of the success only.
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem))
}

/** Fastify's error handler: any throw of a hook or a handler. */
export function errorHandler(logger: Logger) {
  return (thrown: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const error = toAppError(thrown)
    if (error.status >= 500) logFailure(logger, error, thrown, request)
    return sendProblem(reply, error, request.traceId)
  }
}

export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  if (isDatabaseUnavailable(thrown)) return new AppError('database_unavailable', { cause: thrown })
  return fromFastify(thrown) ?? new AppError('internal', { cause: thrown })
}

/** What Fastify itself finds wrong with a request. */
function fromFastify(thrown: unknown): AppError | undefined {
  const { code, statusCode } = (thrown ?? {}) as Partial<FastifyError>
  if (typeof code !== 'string' || !code.startsWith('FST_ERR_')) return undefined
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError('body_too_large', { cause: thrown })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new AppError('unsupported_media_type', { cause: thrown })
    case 'FST_ERR_BAD_URL':
      return new AppError('invalid_request', { detail: 'The path of the URL is not well-formed.', cause: thrown })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new AppError('invalid_request', { detail: 'The body has another length than announced.', cause: thrown })
    default:
      return statusCode !== undefined && statusCode < 500
        ? new AppError('invalid_request', { cause: thrown })
        : undefined
  }
}

function logFailure(logger: Logger, error: AppError, thrown: unknown, request: FastifyRequest): void {
  const fields = {
    traceId: request.traceId,
    method: request.method,
    route: request.routeOptions.url,
    code: error.code,
    error: errorText(error.cause ?? error),
  }
  if (error.code !== 'internal') {
    logger.warn('HTTP', 'request failed', fields)
    return
  }
  const origin = error.cause ?? thrown
  logger.error('HTTP', 'request failed', { ...fields, stack: origin instanceof Error ? origin.stack : undefined })
}
