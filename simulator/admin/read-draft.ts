import { proto } from 'baileys'
import type { Draft } from '../phone/compose.js'
import { MEDIA_TYPES, type MediaDraft } from '../phone/compose-media.js'
import { BadInput, oneOf, optionalNumber, optionalText, phoneFrom, requiredText } from './route.js'

type Body = Record<string, unknown>

const MAX_MEDIA_BYTES = 200 * 1024 * 1024
const CONTENTS = [
  ...['text', 'media', 'location', 'contacts', 'poll', 'vote'],
  ...['reaction', 'edit', 'delete', 'message'],
] as const

/** What the body of a `send` wants to say. */
export function readDraft(body: Body): Draft {
  if (!CONTENTS.some((name) => body[name] !== undefined)) {
    throw new BadInput(`nothing to send: the body needs one of ${CONTENTS.join(', ')}`)
  }
  const part = <T>(name: string, read: (value: Body) => T) =>
    body[name] === undefined ? {} : { [name]: read(objectFrom(body[name], name)) }
  return {
    text: optionalText(body.text, 'text'),
    ...part('replyTo', readReference),
    ...(body.mentions === undefined ? {} : { mentions: phonesFrom(body.mentions, 'mentions') }),
    ...part('linkPreview', (it) => ({
      url: requiredText(it.url, 'url'),
      title: optionalText(it.title, 'title'),
      description: optionalText(it.description, 'description'),
    })),
    ...part('media', readMedia),
    ...part('location', readLocation),
    ...(body.contacts === undefined ? {} : { contacts: listFrom(body.contacts, 'contacts').map(readContact) }),
    ...part('poll', readPoll),
    ...part('vote', (it) => ({ pollId: requiredText(it.pollId, 'pollId'), options: textsFrom(it.options, 'options') })),
    ...part('reaction', (it) => ({ ...readReference(it), emoji: optionalText(it.emoji, 'emoji') ?? '' })),
    ...part('edit', (it) => ({ id: requiredText(it.id, 'id'), text: requiredText(it.text, 'text') })),
    ...part('delete', readReference),
    ...part('message', readMessage),
  } as Draft
}

export function phonesFrom(value: unknown, name: string): string[] {
  return listFrom(value, name).map((phone) => phoneFrom(phone, name))
}

export function textsFrom(value: unknown, name: string): string[] {
  return listFrom(value, name).map((text) => requiredText(text, name))
}

function readMessage(it: Body): proto.IMessage {
  try {
    const message = proto.Message.fromObject(it)
    if (Object.keys(message).length > 0) return message
  } catch {
    // Falls through to the same sentence.
  }
  throw new BadInput('"message" must be a proto.Message as JSON')
}

function readReference(it: Body) {
  const text = optionalText(it.text, 'text')
  const fromMe = typeof it.fromMe === 'boolean' ? it.fromMe : undefined
  return { id: requiredText(it.id, 'id'), text, fromMe }
}

function readMedia(it: Body): MediaDraft {
  const type = oneOf(it.type, 'type', MEDIA_TYPES)
  if (!type) throw new BadInput(`"type" must be one of ${MEDIA_TYPES.join(', ')}`)
  const bytes = optionalNumber(it.bytes, 'bytes', { min: 1, max: MAX_MEDIA_BYTES })
  const base64 = optionalText(it.base64, 'base64')
  if (bytes === undefined && base64 === undefined) throw new BadInput('media needs "base64" or a number of "bytes"')
  return {
    type,
    content: base64 === undefined ? (bytes ?? 0) : Buffer.from(base64, 'base64'),
    mimeType: optionalText(it.mimeType, 'mimeType'),
    caption: optionalText(it.caption, 'caption'),
    filename: optionalText(it.filename, 'filename'),
    voice: it.voice === true,
    seconds: optionalNumber(it.seconds, 'seconds', { min: 0, max: 86_400 }),
    viewOnce: it.viewOnce === true || it.viewOnce === 'everywhere' ? it.viewOnce : undefined,
  }
}

function readLocation(it: Body) {
  const latitude = optionalNumber(it.latitude, 'latitude', { min: -90, max: 90 })
  const longitude = optionalNumber(it.longitude, 'longitude', { min: -180, max: 180 })
  if (latitude === undefined || longitude === undefined) throw new BadInput('"latitude" and "longitude" are missing')
  return { latitude, longitude, name: optionalText(it.name, 'name'), address: optionalText(it.address, 'address') }
}

function readContact(value: unknown) {
  const it = objectFrom(value, 'contacts')
  return { name: requiredText(it.name, 'name'), phone: phoneFrom(it.phone) }
}

function readPoll(it: Body) {
  const options = textsFrom(it.options, 'options')
  const selectable = optionalNumber(it.selectable, 'selectable', { min: 0, max: options.length }) ?? 1
  return { question: requiredText(it.question, 'question'), options, selectable }
}

function listFrom(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new BadInput(`"${name}" must be a list with something in it`)
  return value
}

function objectFrom(value: unknown, name: string): Body {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body
  throw new BadInput(`"${name}" must be an object`)
}
