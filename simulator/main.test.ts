import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { type ClientTarget, connectBareClient } from './testing/bare-client.js'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
let child: ChildProcess | undefined

afterEach(() => {
  child?.kill('SIGKILL')
})

async function run(...flags: string[]): Promise<ClientTarget & { caPem: string }> {
  child = spawn(process.execPath, ['--import', 'tsx', MAIN, '--port', '0', '--json', ...flags])
  const [line] = await once(child.stdout ?? process.stdin, 'data')
  return JSON.parse(String(line)) as ClientTarget & { caPem: string }
}

describe('the simulator as a process', () => {
  it('says where it is, takes a client, and ends on SIGTERM', async () => {
    const caFile = join(mkdtempSync(join(tmpdir(), 'simulator-')), 'ca.pem')
    const target = await run('--seed', '1', '--latency-ms', '5', '--ca-file', caFile)
    expect(target.rootPublicKeyHex).toBe('021eed1e9a95e94ad4bb2c5f81beeb1fee98246d622e5329e384fb1dac4ba54b')
    expect((await fetch(target.httpUrl)).status).toBe(200)
    expect(new X509Certificate(target.caPem).checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(readFileSync(caFile, 'utf8')).toBe(target.caPem)
    const client = connectBareClient(target, { pushName: 'Loja' })
    await client.pair('5511987654321')
    expect(client.state.creds.me?.id).toBe('5511987654321:1@s.whatsapp.net')
    client.close()
    child?.kill('SIGTERM')
    const [code] = await once(child as ChildProcess, 'exit')
    expect(code).toBe(0)
  })
})
