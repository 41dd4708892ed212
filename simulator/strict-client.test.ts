import { createRequire } from 'node:module'
import { expect, it } from 'vitest'

/**
 * A client whose signature checks are real, as the gateway repairs them: what this simulator hands out must pass, and
 * what it is told to falsify must not. The library is patched before it is imported, so all imports here are dynamic.
 */
async function loadStrictClient() {
  const curve = createRequire(import.meta.url)('libsignal/src/curve.js') as {
    verifySignature: (...args: unknown[]) => boolean
  }
  const original = curve.verifySignature
  // The session builder passes a fourth argument that means "say yes"; it is left out.
  curve.verifySignature = (key, message, signature) => {
    if (!original(key, message, signature)) throw new Error('false signature')
    return true
  }
  return {
    ...(await import('./testing/linked-account.js')),
    ...(await import('./testing/bare-client.js')),
    ...(await import('./testing/eventually.js')),
  }
}

it('a client that really verifies trusts the true server and refuses the false one', async () => {
  const { startLinkedAccount, connectBareClient, eventually } = await loadStrictClient()
  const { simulator, client, contacts, stop } = await startLinkedAccount()
  const [contact = '', other = ''] = contacts
  await client.acked(await client.send(contact, 'trusted #1'))
  await eventually(() => simulator.phones.inbox(contact).counts.distinct === 1)

  simulator.faults.add({ action: 'false-prekey-signature', contact: other, count: 'forever' })
  await client.send(other, 'must not arrive').catch(() => undefined)
  await client.send(contact, 'after it #2')
  await eventually(() => simulator.phones.inbox(contact).counts.distinct === 2)
  expect(simulator.faults.list()[0]?.fired).toBeGreaterThan(0)
  expect(simulator.phones.inbox(other).counts.received).toBe(0)

  client.close()
  simulator.faults.add({ action: 'bad-certificate' })
  const refusing = connectBareClient(simulator, { state: client.state })
  expect(await refusing.waitForClose()).toBe(400)
  await client.reconnect()
  await stop()
})
