import { describe, expect, it } from 'vitest'
import { outboundContent } from '../../platform/whatsapp/content.js'
import { messageExamples, sendExamples } from './content-examples.js'
import { sendBody } from './message-routes.js'
import { messageView } from './message-view.js'

const types = outboundContent.options.map((option) => option.shape.type.value)

describe('the examples of the documentation', () => {
  it.each(sendExamples)('$type may be sent so', (example) => {
    expect(sendBody.safeParse(example)).toMatchObject({ success: true })
  })

  it.each(messageExamples)('a message shows $type so, and nothing of it is lost', (example) => {
    expect(messageView.parse(example)).toEqual(example)
  })

  it('leave out no content', () => {
    expect(new Set(sendExamples.map(({ type }) => type))).toEqual(new Set(types))
    expect(new Set(messageExamples.map(({ type }) => type))).toEqual(
      new Set([...types, 'unsupported', 'undecryptable']),
    )
  })
})
