/** docs/scaling.md, step by step with the settings written there, while a client goes on sending and a contact writes. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { MAIN } from '../support/command.js'
import { createEmptyDatabase } from '../support/database.js'
import { describeWithDebian } from '../support/describe-with-debian.js'
import { eventually } from '../support/eventually.js'
import {
  callApi,
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
} from '../support/launch.js'
import { connected, pairByQr } from '../support/pair.js'
import { postUntilAccepted } from '../support/patient-client.js'
import { type Nginx, startNginx } from '../support/servers/nginx.js'

const guide = readFileSync(new URL('../../docs/scaling.md', import.meta.url), 'utf8')
const ACCOUNT = '5511970000001'
const CONTACT = '5511960000001'
const GONE = '127.0.0.1:1'

describeWithDebian(['nginx'], 'from one node to three replicas', () => {
  const top = mkdtempSync(join(tmpdir(), 'mirante-scaling-'))
  const started: { stop(): Promise<unknown> }[] = []
  let simulator: SimulatorProcess
  let database: Awaited<ReturnType<typeof createEmptyDatabase>>

  beforeAll(async () => {
    simulator = await launchSimulator(['--latency-ms', '0'])
    database = await createEmptyDatabase()
  })
  afterAll(async () => {
    for (const { stop } of started.splice(0).reverse()) await stop()
    await simulator.stop()
    await database.drop()
    rmSync(top, { recursive: true, force: true })
  })

  /** The paths of the guide, in a directory of the test. */
  const here = (text: string): string => text.replaceAll(/\/(etc|var\/lib|srv)\/mirante/g, `${top}$&`)

  /** A file of settings that the guide shows. */
  function settings(name: string): Record<string, string> {
    const block = new RegExp(`\`\`\`ini\\n# ${name}\\n([^\`]*)\`\`\``).exec(guide)?.[1]
    if (!block) throw new Error(`the guide shows no ${name}`)
    return parseEnv(here(block)) as Record<string, string>
  }

  async function start(env: Record<string, string>, directory?: string): Promise<MiranteProcess> {
    const mirante = await launchMirante({ simulator, output: 'ignore', env, ...(directory && { directory }) })
    started.push(mirante)
    return mirante
  }

  async function balance(replicas: readonly MiranteProcess[]): Promise<Nginx> {
    const addresses = replicas.map(({ url }) => new URL(url).host)
    const nginx = await startNginx({ replicas: [...addresses, GONE, GONE].slice(0, 3) })
    started.push(nginx)
    return nginx
  }

  it('loses no message, doubles none, and asks for no QR', async () => {
    const data = here('/var/lib/mirante')
    for (const path of ['/etc/mirante', '/var/lib/mirante', '/srv/mirante-media'])
      mkdirSync(here(path), { recursive: true })
    await simulator.admin('POST', '/admin/contacts', { phones: [CONTACT], receipts: 'delivered' })

    // 1. One node, and who uses it.
    const single = await start({}, data)
    const instanceId = await pairByQr(single, simulator, 'shop', ACCOUNT)
    let url = single.url
    const client = {
      api: (...[method, path, request]: Parameters<MiranteProcess['api']>) => callApi(url, method, path, request),
    }
    const sent: string[] = []
    const written: string[] = []
    let isOver = false
    const sending = (async () => {
      for (let n = 1; !isOver; n++) {
        const text = { body: `out #${n}` }
        await postUntilAccepted(client, `scaling-${n}`, { instanceId, to: `+${CONTACT}`, type: 'text', text })
        sent.push(text.body)
        await simulator.admin('POST', `/admin/contacts/${CONTACT}/send`, { to: ACCOUNT, text: `in #${n}` })
        written.push(`in #${n}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    })()
    const more = (count: number, from = sent.length) =>
      eventually(() => sent.length >= from + count, 'more is accepted')
    await more(10)

    // 2. What the replicas share, and 3. the move.
    writeFileSync(here('/etc/mirante/database-url'), database.url)
    cpSync(join(data, 'encryption-key'), here('/etc/mirante/encryption-key'))
    await single.stop()
    const [, , move = '', copy = ''] = /```sh\n(.*)\n(mirante move.*)\n(cp.*)\n```/.exec(guide) ?? []
    const env = { PATH: process.env.PATH, SESSION_STORAGE_PATH: data }
    execFileSync(process.execPath, [MAIN, ...here(move).split(' ').slice(1)], { env, cwd: top, stdio: 'pipe' })
    if (existsSync(join(data, 'media'))) execFileSync('sh', ['-c', here(copy)])

    // 4. The first replica, and 5. the balancer.
    const first = await start(settings('replica-1.env'))
    url = (await balance([first])).url
    await connected(client, instanceId)
    await more(10)

    // 6. The second and the third.
    const second = await start(settings('replica-2.env'))
    const third = await start(settings('replica-3.env'))
    url = (await balance([first, second, third])).url
    await more(10)

    // 7. One of them goes, and whoever holds the number now goes on.
    await first.stop()
    await more(10)
    isOver = true
    await sending

    const inbox = async (): Promise<string[]> => {
      const path = `/admin/contacts/${CONTACT}/inbox?limit=100000`
      const { messages } = await simulator.admin<{ messages: { text: string }[] }>('GET', path)
      return messages.map(({ text }) => text)
    }
    await eventually(async () => (await inbox()).length >= sent.length, 'everything has reached the contact')
    expect(await inbox()).toEqual(sent)
    const received = async (): Promise<string[]> => {
      const texts: string[] = []
      let cursor = ''
      do {
        const { body } = await client.api('GET', `/api/messages?direction=inbound&limit=200${cursor}`)
        for (const message of body.data) texts.push(message.text.body)
        cursor = body.nextCursor ? `&cursor=${body.nextCursor}` : ''
      } while (cursor)
      return texts.toReversed()
    }
    await eventually(async () => (await received()).length >= written.length, 'everything has been received')
    expect(await received()).toEqual(written)
    expect(await simulator.admin('GET', '/admin/stats')).toMatchObject({ pairings: 1 })
  })
})
