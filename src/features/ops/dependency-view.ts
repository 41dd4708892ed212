/** How a dependency is shown. */
import { z } from 'zod'
import type { DependencyReport } from '../../kernel/dependency.js'

export const dependencyView = z.object({
  name: z.string().meta({ description: '`postgres`, `postgres-replica`, `redis`, `rabbitmq` or `storage`.' }),
  status: z
    .enum(['up', 'degraded', 'down'])
    .meta({ description: 'degraded: it answers, with problems. down: it does not answer.' }),
  meanwhile: z.string().nullable().meta({ description: 'What Mirante does meanwhile. Null: it is up.' }),
  latencyMs: z.number().nullable().meta({ description: 'Of one question and its answer.' }),
  version: z.string().nullable(),
  problems: z.array(z.object({ code: z.string(), found: z.string(), action: z.string() })),
})

export const showDependency = (report: DependencyReport): z.infer<typeof dependencyView> => ({
  ...report,
  problems: report.problems.map(({ code, found, action }) => ({ code, found, action })),
})
