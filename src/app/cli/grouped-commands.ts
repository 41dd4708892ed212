/** Commands under a common word. */
import type { ArgsDef } from 'citty'
import { command, connection, instance, json, ofEndpoint, ofInstance, ofTypes, settings, yes } from './args.js'
import type { CommandGroup } from './command.js'

export const instances: CommandGroup = {
  meta: { name: 'instances', description: 'Your WhatsApp numbers: list, create', topic: 'numbers' },
  commands: [
    command({
      meta: { name: 'list', description: 'List instances with their state and phone' },
      args: async () => ({ ...connection, json }),
      run: async (args) => (await import('./instances.js')).listInstances(args),
    }),
    command({
      meta: {
        name: 'create',
        description: 'Make an instance; then connect its phone with mirante qr',
        examples: ['mirante instances create support'],
      },
      args: async () => ({
        name: { type: 'positional', description: 'What to call it, such as support', required: true },
        ...connection,
        json,
      }),
      run: async (args) => (await import('./instances.js')).createInstance(args),
    }),
  ],
}

export const webhooks: CommandGroup = {
  meta: { name: 'webhooks', description: 'Webhook endpoints: list, add, replay', topic: 'events' },
  commands: [
    command({
      meta: { name: 'list', description: 'List endpoints, and whether they are well' },
      args: async () => ({ ...connection, json }),
      run: async (args) => (await import('./webhooks.js')).listEndpoints(args),
    }),
    command({
      meta: {
        name: 'add',
        description: 'Register an endpoint, and show the secret that signs what it is sent, this once',
        examples: ['mirante webhooks add https://example.com/hook --events message.received,message.failed'],
      },
      args: async () => ({
        target: { type: 'positional', description: 'The URL to post to', required: true },
        events: ofTypes,
        instance: ofInstance,
        ...connection,
        json,
      }),
      run: async (args) => (await import('./webhooks.js')).addEndpoint(args),
    }),
    command({
      meta: {
        name: 'replay',
        description: 'Deliver recorded events again, under their own webhook-id: of a time, all or what failed, or one',
        examples: [
          'mirante webhooks replay --since 2h --failed',
          'mirante webhooks replay --event evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
        ],
      },
      args: async () => ({
        since: {
          type: 'string',
          valueHint: '2h|time',
          description: 'Of the last 30m, 2h, 3d, or since 2026-11-20T08:00Z',
        },
        until: { type: 'string', valueHint: '1h|time', description: 'And before that; default: until now' },
        failed: { type: 'boolean', description: 'Only what was given up, or waits for another try' },
        event: { type: 'string', valueHint: 'evt_…', description: "This one, whatever the endpoint's filters say" },
        endpoint: ofEndpoint,
        'dry-run': { type: 'boolean', description: 'Only count' },
        yes,
        ...connection,
        json,
      }),
      run: async (args) => (await import('./replay.js')).replay(args),
    }),
  ],
}

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

export const deadLetters: CommandGroup = {
  meta: { name: 'dlq', description: 'Jobs that gave up: list, show, retry, discard', topic: 'operation' },
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

const replica = {
  type: 'positional',
  description: 'Name of the replica, as in mirante cluster',
  required: true,
} as const

export const cluster: CommandGroup = {
  meta: {
    name: 'cluster',
    description: 'Which processes run, and who holds which number: show, drain, undrain, move, history',
    topic: 'operation',
  },
  itself: command({
    meta: { name: 'cluster', description: 'Show which processes run, and which of them holds which number' },
    args: async () => ({ ...connection, json }),
    run: async (args) => (await import('./cluster.js')).cluster(args),
  }),
  commands: [
    command({
      meta: {
        name: 'drain',
        description:
          'Let a replica hand all its numbers over and take none, until it is undrained; wait until it is so',
        examples: ['mirante cluster drain replica-2'],
      },
      args: async () => ({ name: replica, ...connection, json }),
      run: async (args) => (await import('./cluster-orders.js')).drain(args),
    }),
    command({
      meta: { name: 'undrain', description: 'Let a drained replica take its share again' },
      args: async () => ({ name: replica, ...connection, json }),
      run: async (args) => (await import('./cluster-orders.js')).undrain(args),
    }),
    command({
      meta: {
        name: 'move',
        description: 'Hand one number over to another gateway, and wait until it is there',
        examples: ['mirante cluster move support --to=replica-1'],
      },
      args: async () => ({
        instance,
        to: { type: 'string', valueHint: 'replica', description: 'To this replica; default: whoever has room' },
        ...connection,
        json,
      }),
      run: async (args) => (await import('./cluster-orders.js')).move(args),
    }),
    command({
      meta: { name: 'history', description: 'Who held a number, since when, and why it changed hands' },
      args: async () => ({ instance, ...connection, json }),
      run: async (args) => (await import('./cluster-orders.js')).history(args),
    }),
  ],
}

export const configuration: CommandGroup = {
  meta: { name: 'config', description: 'The settings: what is in effect, and why', topic: 'operation' },
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
