/**
 * Where everything is wired, by hand: from a configuration and a set of roles to one service. Only compose*.ts import adapters.
 * A service starts after what it needs and stops before it, so the order of the list is the order of a clean shutdown read
 * backwards: no new requests, numbers drained and released, jobs finished, identity given up, database closed. The parts of
 * a role are loaded when a process has it: a gateway carries no HTTP server, and the web role no WhatsApp library.
 */
import { type Service, serviceGroup } from '../kernel/service.js'
import { codeVersion } from '../platform/database/migrate.js'
import { createProcessReporter } from '../platform/leases/process-report.js'
import { composeBase } from './compose-base.js'
import type { ComposeOptions } from './compose-options.js'
import type { Config } from './config.js'
import type { Role } from './roles.js'

export interface Composed {
  readonly service: Service
  /** With the role web: where it listens, once started. */
  readonly http?: { readonly url: string }
}

export async function compose(config: Config, options: ComposeOptions): Promise<Composed> {
  const base = composeBase(config, options)
  const has = (role: Role): boolean => options.roles.has(role)
  const [gateway, jobs, web] = await Promise.all([
    has('gateway') ? import('./compose-gateway.js') : undefined,
    has('worker') || has('scheduler') ? import('./compose-jobs.js') : undefined,
    has('web') ? import('./compose-web.js') : undefined,
  ])
  const http = web?.composeWeb(config, base)
  const numbers = gateway?.composeGateway(config, base)
  const reporter = createProcessReporter({
    ...{ db: base.db, incarnation: base.incarnation.id, terms: base.leases.terms, builtFor: codeVersion },
    gateway: numbers?.count,
    isDraining: () => base.life.draining,
    dependencies: base.dependencyChecks.known,
    ...{ clock: base.clock, random: base.random, logger: base.logger },
  })
  const service = serviceGroup([
    base.database,
    ...(base.redis ? [base.redis] : []),
    base.incarnation,
    reporter,
    base.brokers,
    base.addressBook,
    ...(has('scheduler') ? (jobs?.composeScheduler(base) ?? []) : []),
    ...(has('worker') ? (jobs?.composeWorker(base) ?? []) : []),
    ...(numbers?.services ?? []),
    ...(http?.services ?? []),
  ])
  return {
    service: {
      start: () => service.start(),
      async stop() {
        base.life.draining = true
        // So that the other gateways take what this one is about to release at once, instead of leaving it to this one's share.
        await reporter.report()
        await service.stop()
      },
    },
    ...(http && { http: addressOf(http.server) }),
  }
}

function addressOf(server: { readonly url: string | undefined }): { readonly url: string } {
  return {
    get url() {
      return server.url ?? ''
    },
  }
}
