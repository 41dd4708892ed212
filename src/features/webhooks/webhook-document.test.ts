import { describe, expect, it } from 'vitest'
import { contactView } from '../contacts/contact-view.js'
import { publicEventTypes } from '../events/event.js'
import { mediaView } from '../messages/media-view.js'
import { messageView } from '../messages/message-view.js'
import { webhookExamples, webhookOperations } from './webhook-document.js'

describe('the OpenAPI document of webhooks', () => {
  it('has every public type of event, each with an example of its body', () => {
    expect(Object.keys(webhookOperations)).toEqual([...publicEventTypes])
    for (const [type, { post }] of Object.entries(webhookOperations)) {
      const { example, schema } = post.requestBody.content['application/json'] ?? {}
      expect(Object.keys(example ?? {}), type).toEqual(schema?.required)
      expect(webhookExamples[type], type).toBeDefined()
    }
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
