/** What of the Compose specification our files use, strictly: a word that is not here is a slip or has to be thought about. */
import { z } from 'zod'

const duration = z.string().regex(/^\d+(ms|s|m)$/)
const size = z.string().regex(/^\d+[mMgG]$/)
/** What Compose fills in must have no default for a secret; `:?` demands it. */
const text = z.string().min(1)
const texts = z.array(text)
const restart = z.enum(['no', 'always', 'on-failure', 'unless-stopped'])

const healthcheck = z.strictObject({
  test: texts.refine(([kind]) => kind === 'CMD' || kind === 'CMD-SHELL'),
  interval: duration,
  timeout: duration,
  retries: z.number().int().positive(),
  start_period: duration.optional(),
})

const updateConfig = z.strictObject({
  order: z.enum(['start-first', 'stop-first']),
  parallelism: z.number().int(),
  delay: duration,
  monitor: duration.optional(),
  failure_action: z.enum(['rollback', 'pause', 'continue']).optional(),
})

const resources = z.strictObject({ cpus: z.string().regex(/^\d+(\.\d+)?$/), memory: size })

const service = z.strictObject({
  image: text,
  build: z.strictObject({ context: text, dockerfile: text }).optional(),
  init: z.boolean().optional(),
  restart: restart.optional(),
  stop_grace_period: duration.optional(),
  depends_on: z
    .union([texts, z.record(text, z.strictObject({ condition: z.enum(['service_started', 'service_healthy']) }))])
    .optional(),
  ports: z.array(z.string().regex(/^([\d.]+:)?\d+:\d+$/)).optional(),
  volumes: z.array(z.string().regex(/^[\w./-]+:\/[\w./-]*(:ro)?$/)).optional(),
  configs: z.array(z.strictObject({ source: text, target: text })).optional(),
  secrets: z.array(z.union([text, z.strictObject({ source: text, target: text })])).optional(),
  environment: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string()).optional(),
  command: z.union([text, texts]).optional(),
  entrypoint: texts.optional(),
  user: text.optional(),
  hostname: text.optional(),
  shm_size: size.optional(),
  cap_drop: texts.optional(),
  security_opt: texts.optional(),
  read_only: z.boolean().optional(),
  tmpfs: texts.optional(),
  healthcheck: healthcheck.optional(),
  networks: z.record(text, z.strictObject({ ipv4_address: z.ipv4() })).optional(),
  deploy: z
    .strictObject({
      replicas: z.number().int().positive(),
      update_config: updateConfig,
      rollback_config: updateConfig.optional(),
      restart_policy: z.strictObject({ condition: z.enum(['any', 'on-failure', 'none']), delay: duration }).optional(),
      resources: z.strictObject({ limits: resources, reservations: resources }).optional(),
    })
    .optional(),
})

const fromFileOrOutside = z.union([z.strictObject({ file: text }), z.strictObject({ external: z.literal(true) })])

export const composeFile = z.looseObject({
  name: text.optional(),
  version: text.optional(),
  services: z.record(text, service),
  volumes: z.record(text, z.null()).optional(),
  networks: z
    .record(
      text,
      z.strictObject({
        ipam: z.strictObject({ config: z.array(z.strictObject({ subnet: z.cidrv4(), ip_range: z.cidrv4() })) }),
      }),
    )
    .optional(),
  configs: z.record(text, z.strictObject({ file: text })).optional(),
  secrets: z.record(text, fromFileOrOutside).optional(),
})

export type ComposeFile = z.infer<typeof composeFile>
export type ComposeService = z.infer<typeof service>
