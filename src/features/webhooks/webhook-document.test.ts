import { describe, expect, it } from 'vitest'
import { contactView } from '../contacts/contact-view.js'
import { publicEventTypes } from '../events/event.js'
import { messageExamples } from '../messages/content-examples.js'
import { contentViews } from '../messages/content-view.js'
import { mediaView } from '../messages/media-view.js'
import { messageView } from '../messages/message-view.js'
import { webhookExamples, webhookOperations } from './webhook-document.js'

describe('the OpenAPI document of webhooks', () => {
  it('has every public type of event, each with an example of its body', () => {
    expect(Object.keys(webhookOperations)).toEqual([...publicEventTypes])
    for (const [type, { post }] of Object.entries(webhookOperations)) {
      const { example, examples, schema } = post.requestBody.content['application/json'] ?? {}
      const bodies = examples ? Object.values(examples).map(({ value }) => value) : [example ?? {}]
      for (const body of bodies) expect(Object.keys(body), type).toEqual(schema?.required)
      expect(webhookExamples[type], type).toBeDefined()
    }
  })

  it('has an example of a message of every content', () => {
    const { examples } = webhookOperations['message.received']?.post.requestBody.content['application/json'] ?? {}
    const shown = Object.values(examples ?? {}).map(({ value }) => messageView.strict().parse(value.data))
    expect(shown).toEqual(messageExamples)
    const contents = Object.keys(contentViews)
    expect(new Set(shown.map(({ type }) => type))).toEqual(new Set(contents))
    for (const message of shown) expect(contents.filter((name) => name in message)).toEqual([message.type])
  })

  it('shows subjects as the API shows them', () => {
    for (const [type, data] of Object.entries(webhookExamples)) {
      const [subject] = type.split('.')
      if (subject === 'message') expect(messageView.strict().safeParse(data).error, type).toBeUndefined()
      if (subject === 'media') expect(mediaView.strict().safeParse(data).error, type).toBeUndefined()
      if (subject === 'contact') expect(contactView.safeParse(data).error, type).toBeUndefined()
    }
  })
})
