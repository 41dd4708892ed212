/**
 * The commands: what they are called and take. Their code is loaded when one is run, so that `--help` costs nothing; what it
 * resolves to is how the process ends.
 */
import { command, connection, instance, json, ofEndpoint, ofInstance, ofTypes, settings } from './args.js'
import type { Command, CommandGroup } from './command.js'
import { cluster, configuration, deadLetters, instances, webhooks } from './grouped-commands.js'

/** In the order of the help, topic by topic. */
export const commands: readonly (Command | CommandGroup)[] = [
  command({
    meta: {
      name: 'demo',
      description: 'Mirante with a simulated WhatsApp: scan, send, receive, and play on',
      topic: 'start',
    },
    args: async () => ({
      once: { type: 'boolean', description: 'End after the exchange' },
      json: { type: 'boolean', description: 'Print address, key and phone as JSON; the story goes to stderr' },
      port: { type: 'string', default: '0', description: 'Port of the API; 0 takes a free one' },
      'data-dir': {
        type: 'string',
        valueHint: 'directory',
        description: 'Where its data lives; default: a temporary one',
      },
      'database-url': {
        type: 'string',
        valueHint: 'url',
        description: 'A PostgreSQL database to use; default: the embedded one',
      },
    }),
    run: async (args) => (await import('./demo.js')).demo(args),
    guardsItself: true,
  }),
  command({
    meta: {
      name: 'init',
      description: 'Ask three things, write .env with an admin key, and show the key this once',
      topic: 'start',
      examples: ['mirante init', 'mirante init --yes --port=8080'],
    },
    args: async () => ({
      host: {
        type: 'string',
        valueHint: 'address',
        description: 'Where the API listens; 127.0.0.1 is this machine alone',
      },
      port: { type: 'string', valueHint: 'port', description: 'Port of the API' },
      'database-url-file': {
        type: 'string',
        valueHint: 'file',
        description: 'A file with the URL of your PostgreSQL; default: Mirante brings its own',
      },
      yes: { type: 'boolean', description: 'Do not ask: take the defaults where no option says otherwise' },
      json,
    }),
    run: async (args) => (await import('./init.js')).init(args),
  }),
  command({
    meta: {
      name: 'serve',
      description: 'Start Mirante: API, gateways, jobs',
      topic: 'start',
      examples: ['mirante serve', 'mirante serve --port=8080 --log-format=json'],
    },
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
    meta: {
      name: 'doctor',
      description: 'Check machine, settings, database and the running server; say what to do',
      topic: 'start',
    },
    args: async () => ({ ...connection, json, ...(await settings()) }),
    run: async (args) => (await import('./doctor/doctor.js')).doctor(args),
  }),
  instances,
  command({
    meta: {
      name: 'qr',
      description: 'Show the QR of an instance until its phone is connected',
      topic: 'numbers',
      examples: ['mirante qr support', 'mirante qr support --pairing-code=+5511987654321'],
    },
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
    meta: {
      name: 'send',
      description: 'Send a text',
      topic: 'numbers',
      examples: ["mirante send support +5511987654321 'Olá!' --wait"],
    },
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
    meta: { name: 'tail', description: 'Follow what happens, line by line, without contents', topic: 'events' },
    args: async () => ({ instance: ofInstance, type: ofTypes, ...connection, json }),
    run: async (args) => (await import('./tail.js')).tail(args),
  }),
  command({
    meta: {
      name: 'listen',
      description: 'Bring events to your machine: print them, or post them signed to a local URL',
      topic: 'events',
      examples: ['mirante listen', 'mirante listen --forward-to localhost:4000/hook --events message.received'],
    },
    args: async () => ({
      'forward-to': { type: 'string', valueHint: 'url', description: 'Post each event there, as a webhook' },
      events: ofTypes,
      instance: ofInstance,
      secret: { type: 'string', valueHint: 'whsec_…', description: 'Sign with this; default: one made now and shown' },
      after: {
        type: 'string',
        valueHint: 'sequence',
        description: 'Begin after this event; 0: with the first that is kept',
      },
      ...connection,
      json,
    }),
    run: async (args) => (await import('./listen.js')).listen(args),
  }),
  webhooks,
  command({
    meta: {
      name: 'trigger',
      description: 'Send a test event, or a real one again, to a webhook endpoint; show what it answers',
      topic: 'events',
      examples: ['mirante trigger webhook.tested', 'mirante trigger message.received'],
    },
    args: async () => ({
      event: {
        type: 'positional',
        description: 'webhook.tested, or the type of an event that it was sent',
        required: true,
      },
      endpoint: ofEndpoint,
      ...connection,
      json,
    }),
    run: async (args) => (await import('./trigger.js')).trigger(args),
  }),
  deadLetters,
  cluster,
  configuration,
  command({
    meta: {
      name: 'migrate',
      description: 'Bring the database to the schema of this version, then end',
      topic: 'operation',
    },
    args: async () => ({ json, ...(await settings()) }),
    run: async (args) => (await import('./migrate.js')).migrateCommand(args),
  }),
  command({
    meta: {
      name: 'move',
      description: 'Move everything to another PostgreSQL, from the embedded one or a server',
      topic: 'operation',
      examples: [
        'mirante move --to=postgres://mirante:secret@db.example/mirante',
        'mirante move --to-file=/run/secrets/url',
      ],
    },
    args: async () => ({
      to: { type: 'string', valueHint: 'url', description: 'The empty database to move to' },
      'to-file': { type: 'string', valueHint: 'file', description: 'A file with its URL' },
      stay: { type: 'boolean', description: 'Call off a move that was not finished: remain here' },
      json,
      ...(await settings()),
    }),
    run: async (args) => (await import('./move.js')).moveCommand(args),
  }),
  command({
    meta: {
      name: 'simulator',
      description: 'A WhatsApp network to test against; takes its own options, see --help',
      topic: 'operation',
    },
    args: async () => ({}),
    run: async (_args, rawArgs) => (await import('./simulator.js')).simulator(rawArgs),
    passThrough: true,
  }),
  command({
    meta: {
      name: 'completion',
      description: 'Print a script that completes commands for bash, zsh or fish',
      topic: 'operation',
      examples: ['source <(mirante completion bash)'],
    },
    args: async () => ({ shell: { type: 'positional', description: 'bash, zsh or fish', required: true } }),
    run: async (args) => (await import('./completion.js')).completion(args, commands),
  }),
  command({
    meta: { name: 'complete-instances', description: 'Names of instances, for completion scripts', hidden: true },
    args: async () => connection,
    run: async (args) => (await import('./complete-instances.js')).completeInstances(args),
  }),
]
