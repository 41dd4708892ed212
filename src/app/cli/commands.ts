/**
 * The commands: what they are called and take. Their code is loaded when one is run, so that `--help` costs nothing; what it
 * resolves to is how the process ends.
 */
import type { ArgsDef } from 'citty'
import type { Command, CommandGroup } from './command.js'

const command = <const Args extends ArgsDef, Early>(definition: Command<Args, Early>): Command =>
  definition as unknown as Command

const connection = {
  url: { type: 'string', valueHint: 'url', description: 'Where Mirante answers (MIRANTE_URL)' },
  key: { type: 'string', valueHint: 'key', description: 'API key (MIRANTE_API_KEY)' },
} as const satisfies ArgsDef

const json = { type: 'boolean', description: 'Print data as JSON' } as const
const yes = { type: 'boolean', description: 'Do not ask' } as const

const instance = { type: 'positional', description: 'Id (ins_…) or name of the instance', required: true } as const
const ofInstance = { type: 'string', valueHint: 'id-or-name', description: 'Only of this instance' } as const

/** The flags of the configuration are made from its documentation. */
const settings = async () => (await import('./config-flags.js')).configFlags()

const deadLetter = { type: 'positional', description: 'Id (job_…) of the dead letter', required: true } as const
const kind = {
  type: 'string',
  valueHint: 'kind',
  description: 'Only jobs of this kind, such as deliver-webhook',
} as const
const many = {
  id: { type: 'positional', description: 'Id (job_…) of the dead letter', required: false },
  all: { type: 'boolean', description: 'All of them, or all of --kind' },
  kind,
  yes,
  ...connection,
  json,
} as const satisfies ArgsDef

const deadLetters: CommandGroup = {
  meta: { name: 'dlq', description: 'Jobs that gave up: list, show, retry, discard' },
  commands: [
    command({
      meta: { name: 'list', description: 'List jobs that gave up, the newest first' },
      args: async () => ({ kind, ...connection, json }),
      run: async (args) => (await import('./dlq.js')).listDeadLetters(args),
    }),
    command({
      meta: { name: 'show', description: 'Show one, with the attempts of its delivery' },
      args: async () => ({ id: deadLetter, ...connection, json }),
      run: async (args) => (await import('./dlq.js')).showDeadLetter(args),
    }),
    command({
      meta: { name: 'retry', description: 'Try again, with fresh attempts: one by its id, or --all' },
      args: async () => many,
      run: async (args) => (await import('./dlq.js')).settleDeadLetters('retry', args),
    }),
    command({
      meta: { name: 'discard', description: 'Let go for good: one by its id, or --all' },
      args: async () => many,
      run: async (args) => (await import('./dlq.js')).settleDeadLetters('discard', args),
    }),
  ],
}

const configuration: CommandGroup = {
  meta: { name: 'config', description: 'The settings: what is in effect, and why' },
  commands: [
    command({
      meta: { name: 'explain', description: 'Show every setting, or one: its value, where it comes from, what it is' },
      args: async () => ({
        name: { type: 'positional', description: 'Name of a setting, such as PORT', required: false },
        url: connection.url,
        json,
        ...(await settings()),
      }),
      run: async (args) => (await import('./config-explain.js')).explainConfig(args),
    }),
  ],
}

export const commands: readonly (Command | CommandGroup)[] = [
  command({
    meta: { name: 'serve', description: 'Start Mirante: API, gateways, jobs' },
    args: async () => ({
      roles: {
        type: 'string',
        valueHint: 'web,gateway,…',
        description: 'Start only these: web, gateway, worker, scheduler',
      },
      single: { type: 'boolean', description: 'Everything in one process, for tiny machines' },
      ...(await settings()),
    }),
    early: async (rawArgs) => (await import('./early-web.js')).forkEarlyWeb(rawArgs),
    run: async (args, _rawArgs, early) => (await import('./serve.js')).serve(args, early),
    guardsItself: true,
  }),
  command({
    meta: { name: 'migrate', description: 'Bring the database to the schema of this version, then end' },
    args: async () => ({ json, ...(await settings()) }),
    run: async (args) => (await import('./migrate.js')).migrateCommand(args),
  }),
  command({
    meta: { name: 'doctor', description: 'Check machine, settings, database and the running server; say what to do' },
    args: async () => ({ ...connection, json, ...(await settings()) }),
    run: async (args) => (await import('./doctor/doctor.js')).doctor(args),
  }),
  configuration,
  command({
    meta: { name: 'demo', description: 'Mirante with a simulated WhatsApp: scan, send, receive, and play on' },
    args: async () => ({
      once: { type: 'boolean', description: 'End after the exchange' },
      json: { type: 'boolean', description: 'Print address, key and phone as JSON; the story goes to stderr' },
      port: { type: 'string', default: '0', description: 'Port of the API; 0 takes a free one' },
      'data-dir': { type: 'string', description: 'Data directory; default: a temporary one' },
      'database-url': { type: 'string', description: 'A PostgreSQL database to use; default: the embedded one' },
    }),
    run: async (args) => (await import('./demo.js')).demo(args),
    guardsItself: true,
  }),
  command({
    meta: { name: 'simulator', description: 'A WhatsApp network to test against; takes its own options, see --help' },
    args: async () => ({}),
    run: async (_args, rawArgs) => (await import('./simulator.js')).simulator(rawArgs),
    passThrough: true,
  }),
  command({
    meta: { name: 'qr', description: 'Show the QR of an instance until its phone is connected' },
    args: async () => ({
      instance,
      'pairing-code': {
        type: 'string',
        valueHint: 'number',
        description: 'Show a code to type on the phone of this number in place of the QR',
      },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./qr.js')).qr(args),
  }),
  command({
    meta: { name: 'send', description: 'Send a text' },
    args: async () => ({
      instance,
      number: { type: 'positional', description: 'Phone number, such as +5511987654321', required: true },
      text: { type: 'positional', description: 'What to say', required: true },
      wait: { type: 'boolean', description: "Wait until WhatsApp's server has it (at most 60 s)" },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./send.js')).send(args),
  }),
  command({
    meta: { name: 'tail', description: 'Follow what happens, line by line, without contents' },
    args: async () => ({
      instance: ofInstance,
      type: { type: 'string', valueHint: 'type,…', description: 'Only events of these types' },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./tail.js')).tail(args),
  }),
  command({
    meta: {
      name: 'listen',
      description: 'Bring events to your machine: print them, or post them signed to a local URL',
    },
    args: async () => ({
      'forward-to': { type: 'string', valueHint: 'url', description: 'Post each event there, as a webhook' },
      events: { type: 'string', valueHint: 'type,…', description: 'Only events of these types' },
      instance: ofInstance,
      secret: { type: 'string', valueHint: 'whsec_…', description: 'Sign with this; default: one made now and shown' },
      after: { type: 'string', valueHint: 'sequence', description: 'Begin after this event; 0 is the first one ever' },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./listen.js')).listen(args),
  }),
  command({
    meta: {
      name: 'trigger',
      description: 'Send a test event, or a real one again, to a webhook endpoint; show what it answers',
    },
    args: async () => ({
      event: {
        type: 'positional',
        description: 'webhook.tested, or the type of an event that it was sent',
        required: true,
      },
      endpoint: { type: 'string', valueHint: 'whe_…', description: 'Needed where there is more than one' },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./trigger.js')).trigger(args),
  }),
  deadLetters,
  command({
    meta: { name: 'cluster', description: 'Show which processes run, and which of them holds which number' },
    args: async () => ({ ...connection, json }),
    run: async (args) => (await import('./cluster.js')).cluster(args),
  }),
  command({
    meta: { name: 'completion', description: 'Print a script that completes commands for bash, zsh or fish' },
    args: async () => ({ shell: { type: 'positional', description: 'bash, zsh or fish', required: true } }),
    run: async (args) => (await import('./completion.js')).completion(args, commands),
  }),
  command({
    meta: { name: 'complete-instances', description: 'Names of instances, for completion scripts', hidden: true },
    args: async () => connection,
    run: async (args) => (await import('./complete-instances.js')).completeInstances(args),
  }),
]
