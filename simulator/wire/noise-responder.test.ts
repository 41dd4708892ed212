import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { keyPairFrom, sharedKey } from './curve.js'
import { createNoiseResponder } from './noise-responder.js'

const HEADER = Buffer.from('57410603', 'hex')
const server = keyPairFrom(Buffer.alloc(32, 1))
const serverEphemeral = keyPairFrom(Buffer.alloc(32, 2))
const client = keyPairFrom(Buffer.alloc(32, 3))
const clientEphemeral = keyPairFrom(Buffer.alloc(32, 4))

function responder() {
  const certificate = Buffer.from('certificate')
  return createNoiseResponder({ header: HEADER, staticKeys: server, ephemeralKeys: serverEphemeral, certificate })
}

describe('the noise responder', () => {
  it('answers a fixed client with fixed bytes', () => {
    const hello = responder().answerHello(clientEphemeral.public)
    expect(hello.ephemeral.toString('hex')).toBe(Buffer.from(serverEphemeral.public).toString('hex'))
    expect(hello.static.toString('hex')).toBe(GOLDEN.static)
    expect(hello.payload.toString('hex')).toBe(GOLDEN.payload)
  })

  it('comes to the same keys as an initiator written from the pattern', () => {
    const answering = responder()
    const initiator = createInitiator()
    const hello = answering.answerHello(clientEphemeral.public)
    expect(initiator.readHello(hello)).toEqual({ serverStatic: Buffer.from(server.public), payload: 'certificate' })
    const finish = initiator.finish(Buffer.from('client payload'))
    const finished = answering.finish(finish.encryptedStatic, finish.encryptedPayload)
    expect(finished.clientStatic).toEqual(Buffer.from(client.public))
    expect(finished.payload.toString()).toBe('client payload')
    const { write, read } = initiator.split()
    for (const counter of [0, 1]) {
      expect(finished.transport.decrypt(crypt(write, counter, `up ${counter}`)).toString()).toBe(`up ${counter}`)
      expect(decrypt(read, counter, finished.transport.encrypt(Buffer.from(`down ${counter}`))).toString()).toBe(
        `down ${counter}`,
      )
    }
  })

  it('refuses a finish that was changed on its way', () => {
    const answering = responder()
    const initiator = createInitiator()
    initiator.readHello(answering.answerHello(clientEphemeral.public))
    const { encryptedStatic, encryptedPayload } = initiator.finish(Buffer.from('client payload'))
    encryptedPayload[0] = (encryptedPayload[0] ?? 0) ^ 1
    expect(() => answering.finish(encryptedStatic, encryptedPayload)).toThrow()
  })
})

const GOLDEN = {
  static: '2dd7cacfab78584fed625e4cbd31b39f46c0854e08c3afd176c3cf336b19f1ffaf94d287c68392b4dd9c471697d480d5',
  payload: '446aeb31a5fe473dc57a7e8d0e1e536cb01cae1deab3643c7f2558',
}

/** The other side of the pattern, kept apart from the code under test. */
function createInitiator() {
  let h: Buffer = Buffer.from('Noise_XX_25519_AESGCM_SHA256\0\0\0\0')
  let ck = h
  let k = h
  const mixHash = (data: Uint8Array) => {
    h = createHash('sha256').update(h).update(data).digest()
  }
  const mixKey = (ikm: Uint8Array) => {
    const out = Buffer.from(hkdfSync('sha256', ikm, ck, '', 64))
    ck = out.subarray(0, 32)
    k = out.subarray(32)
  }
  const take = (counter: number, sealed: Buffer) => {
    const plain = decrypt(k, counter, sealed, h)
    mixHash(sealed)
    return plain
  }
  const give = (counter: number, plain: Uint8Array) => {
    const sealed = crypt(k, counter, plain, h)
    mixHash(sealed)
    return sealed
  }
  mixHash(HEADER)
  mixHash(clientEphemeral.public)
  let theirEphemeral: Buffer = Buffer.alloc(0)
  return {
    readHello(hello: { ephemeral: Buffer; static: Buffer; payload: Buffer }) {
      theirEphemeral = hello.ephemeral
      mixHash(theirEphemeral)
      mixKey(sharedKey(clientEphemeral.private, theirEphemeral))
      const serverStatic = take(0, hello.static)
      mixKey(sharedKey(clientEphemeral.private, serverStatic))
      return { serverStatic, payload: take(0, hello.payload).toString() }
    },
    finish(payload: Buffer) {
      const encryptedStatic = give(1, client.public)
      mixKey(sharedKey(client.private, theirEphemeral))
      return { encryptedStatic, encryptedPayload: give(0, payload) }
    },
    split() {
      const out = Buffer.from(hkdfSync('sha256', '', ck, '', 64))
      return { write: out.subarray(0, 32), read: out.subarray(32) }
    },
  }
}

function nonce(counter: number) {
  const iv = Buffer.alloc(12)
  iv.writeUInt32BE(counter, 8)
  return iv
}

function crypt(key: Buffer, counter: number, plain: Uint8Array | string, aad: Buffer = Buffer.alloc(0)): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce(counter)).setAAD(aad)
  return Buffer.concat([cipher.update(Buffer.from(plain)), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Buffer, counter: number, sealed: Buffer, aad: Buffer = Buffer.alloc(0)): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(counter)).setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}
