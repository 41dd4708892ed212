import { describe, expect, it } from 'vitest'
import { createFrameReader, encodeFrame, type Intro } from './framing.js'

function reading() {
  const intros: Intro[] = []
  const frames: string[] = []
  const reader = createFrameReader({
    intro: (intro) => intros.push(intro),
    frame: (body) => frames.push(body.toString()),
  })
  return { reader, intros, frames }
}

const HEADER = Buffer.from('57410603', 'hex')

describe('the frame reader', () => {
  it('reads frames however they are cut and glued', () => {
    const stream = Buffer.concat([HEADER, encodeFrame(Buffer.from('one')), encodeFrame(Buffer.from('two'))])
    for (let size = 1; size <= stream.length; size++) {
      const { reader, frames, intros } = reading()
      for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size))
      expect(frames).toEqual(['one', 'two'])
      expect(intros).toHaveLength(1)
    }
  })

  it('reads the routing info in front of the header', () => {
    const { reader, intros, frames } = reading()
    const routing = Buffer.from('0a0b0c', 'hex')
    reader.push(Buffer.concat([Buffer.from('45440001000003', 'hex'), routing, HEADER, encodeFrame(Buffer.from('x'))]))
    expect(intros[0]?.routingInfo).toEqual(routing)
    expect(intros[0]?.header).toEqual(HEADER)
    expect(frames).toEqual(['x'])
  })

  it('refuses a stream that does not begin with the header', () => {
    expect(() => reading().reader.push(Buffer.from('GET / HTTP/1.1'))).toThrow('begins with')
  })

  it('writes the length in three bytes', () => {
    expect(encodeFrame(Buffer.alloc(70_000)).subarray(0, 3).toString('hex')).toBe('011170')
  })
})
