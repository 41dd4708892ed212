/** The HTTP routes of groups. Each asks WhatsApp, through the holder of the instance. */
import { z } from 'zod'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import { isStorable } from '../../kernel/storable-text.js'
import { type App, idParam } from '../../platform/http/route.js'
import { askHolder } from './ask-holder.js'
import type { CommandInstanceDeps } from './command-instance.js'
import type { CommandArgs, CommandResult, ErrandKind } from './errand.js'
import { groupView, participantOutcome } from './group-view.js'

const tags = ['Groups']
const instance = z.object({ id: idParam('ins') })
const groupId = z
  .string()
  .regex(/^[\d-]{5,40}@g\.us$/, 'is not the id of a group, such as 120363025246125486@g.us')
  .meta({ description: 'The jid of the group.' })
const group = instance.extend({ groupId })
const words = (max: number) =>
  z.string().max(max).refine(isStorable, 'must not hold NUL characters or halves of surrogate pairs')
/** WhatsApp's own limits. */
const subject = words(100).min(1)
const description = words(2_048)
const participants = z
  .array(z.string().min(1).max(64))
  .max(1_023)
  .meta({ description: 'Numbers, jids or LIDs.', examples: [['+5511987654321']] })
const invite = z.object({ code: z.string(), url: z.string() })
const viewInvite = (code: string) => ({ code, url: `https://chat.whatsapp.com/${code}` })

export function groupRoutes(deps: CommandInstanceDeps): (app: App) => void {
  return (app) => {
    addGroups(app)
    addMembers(app)
    addInvites(app)
  }

  function addGroups(app: App): void {
    app.get(
      '/api/instances/:id/groups',
      {
        config: { scope: 'read' },
        schema: {
          tags,
          summary: 'List the groups that the number is in',
          params: instance,
          response: { 200: z.object({ data: z.array(groupView), nextCursor: z.null() }) },
        },
      },
      async (request) => {
        const { groups } = await ask(request.auth, request.params.id, 'group_list')
        return { data: z.array(groupView).parse(groups), nextCursor: null }
      },
    )

    app.post(
      '/api/instances/:id/groups',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Create a group',
          description: 'Who could not be added is missing from `participants` of the answer.',
          params: instance,
          body: z.strictObject({ subject, participants: participants.min(1) }),
          response: { 201: groupView },
        },
      },
      async (request, reply) => {
        const made = await ask(request.auth, request.params.id, 'group_create', request.body)
        return reply.code(201).send(groupView.parse(made.group))
      },
    )

    app.get(
      '/api/instances/:id/groups/:groupId',
      {
        config: { scope: 'read' },
        schema: { tags, summary: 'Read a group', params: group, response: { 200: groupView } },
      },
      async (request) => read(request.auth, request.params.id, request.params.groupId),
    )

    app.patch(
      '/api/instances/:id/groups/:groupId',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Change subject or description',
          params: group,
          body: z.strictObject({ subject: subject.optional(), description: description.nullable().optional() }),
          response: { 200: groupView },
        },
      },
      async (request) => {
        const { id, groupId: jid } = request.params
        await ask(request.auth, id, 'group_update', { jid, ...request.body })
        return read(request.auth, id, jid)
      },
    )

    app.delete(
      '/api/instances/:id/groups/:groupId',
      {
        config: { scope: 'send' },
        schema: { tags, summary: 'Leave a group', params: group, response: { 204: z.null() } },
      },
      async (request, reply) => {
        await ask(request.auth, request.params.id, 'group_leave', { jid: request.params.groupId })
        return reply.code(204).send(null)
      },
    )
  }

  function addMembers(app: App): void {
    app.post(
      '/api/instances/:id/groups/:groupId/participants',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Add, remove, promote or demote participants',
          params: group,
          body: z.strictObject({
            action: z.enum(['add', 'remove', 'promote', 'demote']),
            participants: participants.min(1),
          }),
          response: { 200: z.object({ participants: z.array(participantOutcome) }) },
        },
      },
      async (request) => {
        const { id, groupId: jid } = request.params
        const answer = await ask(request.auth, id, 'group_participants', { jid, ...request.body })
        return { participants: z.array(participantOutcome).parse(answer.participants) }
      },
    )
  }

  function addInvites(app: App): void {
    app.get(
      '/api/instances/:id/groups/:groupId/invite',
      {
        config: { scope: 'send' },
        schema: { tags, summary: 'Read the invite link', params: group, response: { 200: invite } },
      },
      async (request) => {
        const { code } = await ask(request.auth, request.params.id, 'group_invite', { jid: request.params.groupId })
        return viewInvite(String(code))
      },
    )

    app.post(
      '/api/instances/:id/groups/:groupId/invite/revoke',
      {
        config: { scope: 'send' },
        schema: { tags, summary: 'Replace the invite link by a new one', params: group, response: { 200: invite } },
      },
      async (request) => {
        const args = { jid: request.params.groupId, revoke: true }
        const { code } = await ask(request.auth, request.params.id, 'group_invite', args)
        return viewInvite(String(code))
      },
    )

    app.post(
      '/api/instances/:id/groups/join',
      {
        config: { scope: 'send' },
        schema: {
          tags,
          summary: 'Join a group by its invite',
          params: instance,
          body: z.strictObject({
            code: z
              .string()
              .max(200)
              .transform((text) => text.replace(/^https:\/\/chat\.whatsapp\.com\//, ''))
              .pipe(z.string().regex(/^[\w-]{5,64}$/, 'is neither an invite link nor its code')),
          }),
          response: { 200: groupView },
        },
      },
      async (request) => {
        const { jid } = await ask(request.auth, request.params.id, 'group_join', request.body)
        return read(request.auth, request.params.id, String(jid))
      },
    )
  }

  async function read(auth: { readonly tenantId: TenantId }, instanceId: InstanceId, jid: string) {
    const answer = await ask(auth, instanceId, 'group_read', { jid })
    return groupView.parse(answer.group)
  }

  function ask(
    { tenantId }: { readonly tenantId: TenantId },
    instanceId: InstanceId,
    kind: ErrandKind,
    args?: CommandArgs,
  ): Promise<CommandResult> {
    return askHolder(deps, { tenantId, instanceId }, kind, args)
  }
}
