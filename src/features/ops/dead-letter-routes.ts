/** `/api/dead-letters`: jobs that gave up, kept for a person to try again or to let go. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { idFromColumn, publicId } from '../../kernel/ids.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { type DeadLetter, type Jobs, jobKinds } from '../../platform/jobs/jobs.js'

export interface DeadLetterRoutesDeps {
  readonly jobs: Pick<Jobs, 'deadLetters' | 'retryDead' | 'discardDead'>
}

const tags = ['Dead letters']
const jobParams = z.object({ id: idParam('job') })
const gone = 'No dead letter has this id.'

const deadLetterView = z.object({
  id: z.string(),
  kind: z.enum(jobKinds),
  subjectId: z.string(),
  attempts: z.number(),
  error: z.string(),
  diedAt: z.string(),
})

export function deadLetterRoutes({ jobs }: DeadLetterRoutesDeps): (app: App) => void {
  return (app) => {
    addList(app, jobs)
    addRetry(app, jobs)
    addDiscard(app, jobs)
  }
}

function addList(app: App, jobs: DeadLetterRoutesDeps['jobs']): void {
  app.get(
    '/api/dead-letters',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'List jobs that gave up',
        querystring: pageQuery.extend({ cursor: idParam('job').optional() }),
        response: { 200: pageOf(deadLetterView) },
      },
    },
    async ({ auth, query: { limit, cursor } }) => {
      const letters = await jobs.deadLetters(auth.tenantId, {
        limit: limit + 1,
        ...(cursor === undefined ? {} : { after: cursor }),
      })
      const page = letters.slice(0, limit)
      const last = letters.length > limit ? page.at(-1) : undefined
      return { data: page.map(showDeadLetter), nextCursor: last ? publicId('job', last.jobId) : null }
    },
  )
}

function addRetry(app: App, jobs: DeadLetterRoutesDeps['jobs']): void {
  app.post(
    '/api/dead-letters/:id/retry',
    {
      config: { scope: 'control' },
      schema: {
        tags,
        summary: 'Try a job again, with fresh attempts',
        params: jobParams,
        response: { 202: z.object({ id: z.string(), status: z.literal('ready') }) },
      },
    },
    async ({ auth, params: { id } }, reply) => {
      if (!(await jobs.retryDead(auth.tenantId, id))) throw new AppError('not_found', { detail: gone })
      return reply.code(202).send({ id: publicId('job', id), status: 'ready' })
    },
  )
}

/** Under both names: the one of the contract, and the one that HTTP has for it. */
function addDiscard(app: App, jobs: DeadLetterRoutesDeps['jobs']): void {
  for (const [method, url] of [
    ['POST', '/api/dead-letters/:id/discard'],
    ['DELETE', '/api/dead-letters/:id'],
  ] as const) {
    app.route({
      method,
      url,
      config: { scope: 'delete' },
      schema: { tags, summary: 'Let a job go for good', params: jobParams, response: { 204: z.undefined() } },
      async handler({ auth, params: { id } }, reply) {
        if (!(await jobs.discardDead(auth.tenantId, id))) throw new AppError('not_found', { detail: gone })
        return reply.code(204).send()
      },
    })
  }
}

function showDeadLetter({ jobId, kind, id, attempt, error, diedAt }: DeadLetter): z.infer<typeof deadLetterView> {
  return {
    id: publicId('job', jobId),
    kind,
    subjectId: subjectOf(kind, id),
    attempts: attempt,
    error,
    diedAt: diedAt.toISOString(),
  }
}

/** What the job was about, under its public id where its kind has one. */
function subjectOf(kind: DeadLetter['kind'], id: string): string {
  if (kind === 'fan-out') return publicId('evt', idFromColumn('evt', id))
  if (kind === 'deliver-webhook') return publicId('dlv', idFromColumn('dlv', id))
  return id
}
