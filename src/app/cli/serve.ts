import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { createLogger } from '../../platform/observability/logger.js'
import { type OperatorConfig, readConfig } from '../config.js'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { guardProcess } from '../process-guard.js'
import { allRoles, parseRoles, type Role } from '../roles.js'
import { sentenceOf } from '../start-failure.js'
import { createMirante } from '../start-mirante.js'
import { onStopSignal } from '../stop-signals.js'
import type { Serving } from '../supervisor.js'
import { version } from '../version.js'
import { flagsFrom } from './config-flags.js'

/** After the wait for balancers. Whatever is not done by then is cut off: orchestrators kill at 30 s. */
const STOP_LIMIT_MS = 25_000

/** Serves until it is told to stop. */
export async function serve(
  args: Readonly<Record<string, unknown>>,
  early: ChildProcess | undefined,
): Promise<ExitCode> {
  const config = readConfig(flagsFrom(args))
  const roles = rolesFrom(args.roles)
  const logger = createLogger(config).child({ process: 'supervisor' })
  if (config.whatsappWebUrl) {
    logger.warn(
      'SESSION',
      'THIS MIRANTE TALKS TO A SIMULATOR AND NOT TO WHATSAPP: unset WHATSAPP_WEB_URL for real use',
      {
        url: config.whatsappWebUrl,
      },
    )
  }
  let stopping = false
  let stop: (code: ExitCode) => void = () => {}
  const stopAsked = new Promise<ExitCode>((resolve) => {
    stop = (code) => {
      stopping = true
      resolve(code)
    }
  })
  const supervisor = createMirante({
    config,
    roles,
    single: args.single === true,
    early,
    logger,
    onFinal(message) {
      process.stderr.write(`${message}\n`)
      stop(EXIT.failed)
    },
  })
  guardProcess(() => supervisor.kill())
  onStopSignal({
    first() {
      process.stderr.write('stopping; once more to stop at once\n')
      stop(EXIT.done)
    },
    second() {
      supervisor.kill()
      process.exit(EXIT.failed)
    },
  })
  supervisor.start().then(
    (serving) => process.stdout.write(banner(serving, config)),
    (error: unknown) => {
      if (stopping) return
      process.stderr.write(`Mirante cannot start. ${sentenceOf(error)}\n`)
      stop(EXIT.failed)
    },
  )
  const code = await stopAsked
  const limitMs = config.drainWaitMs + STOP_LIMIT_MS
  const inTime = await Promise.race([supervisor.stop().then(() => true), delay(limitMs, false, { ref: false })])
  if (!inTime) supervisor.kill()
  process.exit(inTime ? code : EXIT.failed)
}

function rolesFrom(text: unknown): readonly Role[] {
  if (typeof text !== 'string') return allRoles
  const roles = parseRoles(text)
  if (roles) return roles
  throw new UsageError(`--roles takes some of ${allRoles.join(', ')}, separated by commas; not "${text}".`)
}

/** The only place where the first key is ever shown. */
function banner({ url, newApiKey }: Serving, config: OperatorConfig): string {
  const shown = url?.replace('//0.0.0.0', '//localhost').replace('//[::]', '//localhost')
  const lines = [
    `Mirante ${version} is ready${shown ? '' : ` as ${config.replicaName}`}.`,
    ...(shown ? [`  API   ${shown}/api`, `  Docs  ${shown}/docs`] : []),
    ...(newApiKey ? [`  Key   ${newApiKey}   (the first admin key: shown once, now)`] : []),
  ]
  return `\n${lines.join('\n')}\n\n`
}
