import { setTimeout as delay } from 'node:timers/promises'
import { wantsColour } from '../config.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ApiClient, ApiError, clientFrom } from './api-client.js'

interface InstanceStatus {
  readonly enabled: boolean
  readonly connectionStatus: string
  readonly reason: string | null
  readonly since: string
}

interface QrAnswer {
  readonly connectionStatus: string
  readonly qr: { readonly code: string; readonly expiresAt: string } | null
}

interface QrArgs {
  readonly instance: string
  readonly url?: string | undefined
  readonly key?: string | undefined
  readonly json?: boolean | undefined
  /** The number of the phone, when a code is to be typed there. */
  readonly 'pairing-code'?: string | undefined
}

interface PairingCode {
  readonly code: string
  readonly expiresAt: string
}

/** Between two looks while a code is on show; it changes every 20 s or so, and a scan should be noticed at once. */
const LOOK_EVERY_MS = 1_000

/** Shows each QR as WhatsApp changes it, or a code to type, until the phone is connected. */
export async function qr(args: QrArgs): Promise<ExitCode> {
  const client = clientFrom(args)
  const id = await client.instanceId(args.instance)
  const phone = args['pairing-code']
  let codeSince = ''
  let shownCode = ''
  let shownStatus = ''
  for (;;) {
    const status = await client.get<InstanceStatus>(`/api/instances/${id}/status`)
    if (status.connectionStatus !== shownStatus) tellStatus(status, args.json)
    shownStatus = status.connectionStatus
    if (status.connectionStatus === 'CONNECTED') return EXIT.done
    const stuck = whyStuck(status, args.instance)
    if (stuck) throw new Error(stuck)
    // A connection that begins anew knows nothing of the code that the one before gave.
    if (phone !== undefined && status.connectionStatus === 'QR_REQUIRED' && status.since !== codeSince) {
      if (await showPairingCode(client, id, phone, args.json)) codeSince = status.since
    }
    const answer = phone === undefined ? await askForQr(client, id, status) : undefined
    if (answer?.qr && answer.qr.code !== shownCode) await show(answer.qr, args.json)
    shownCode = answer?.qr?.code ?? shownCode
    await delay(LOOK_EVERY_MS)
  }
}

/** Undefined while there is none to show: still connecting, or already scanned. */
async function askForQr(
  client: ApiClient,
  id: string,
  { connectionStatus }: InstanceStatus,
): Promise<QrAnswer | undefined> {
  if (connectionStatus === 'LOADING' || connectionStatus === 'RECONNECTING') return undefined
  try {
    return await client.get<QrAnswer>(`/api/instances/${id}/qr`)
  } catch (error) {
    if (error instanceof ApiError && error.code === 'qr_unavailable') return undefined
    throw error
  }
}

/** False when there was none to show yet. */
async function showPairingCode(
  client: ApiClient,
  id: string,
  phone: string,
  json: boolean | undefined,
): Promise<boolean> {
  try {
    const { code, expiresAt } = await client.post<PairingCode>(`/api/instances/${id}/pairing-code`, { phone })
    if (json) process.stdout.write(`${JSON.stringify({ pairingCode: { code, expiresAt } })}\n`)
    else process.stdout.write(`${code.slice(0, 4)}-${code.slice(4)}\n`)
    process.stderr.write(
      `WhatsApp → Linked devices → Link a device → Link with phone number. This code lives until ${expiresAt}.\n`,
    )
    return true
  } catch (error) {
    if (error instanceof ApiError && (error.code === 'qr_unavailable' || error.code === 'already_connected'))
      return false
    throw error
  }
}

function whyStuck({ enabled, connectionStatus, reason }: InstanceStatus, name: string): string | undefined {
  if (!enabled) return `${name} is disabled. Enable it first: POST /api/instances/:id/enable`
  if (connectionStatus !== 'AUTH_FAILURE') return undefined
  return `WhatsApp refuses the login of ${name} (${reason ?? 'no reason given'}). Start anew: POST /api/instances/:id/restart`
}

function tellStatus({ connectionStatus, reason }: InstanceStatus, json: boolean | undefined): void {
  process.stderr.write(`${connectionStatus}${reason ? ` (${reason})` : ''}\n`)
  if (json) process.stdout.write(`${JSON.stringify({ connectionStatus, reason })}\n`)
}

async function show(code: { code: string; expiresAt: string }, json: boolean | undefined): Promise<void> {
  if (json) {
    process.stdout.write(`${JSON.stringify({ qr: code })}\n`)
    return
  }
  const { default: qrcode } = await import('qrcode')
  // With colours it has its own white ground and is read on dark terminals too; without, the terminal's own is used.
  const picture = wantsColour(process.stdout.isTTY === true)
    ? await qrcode.toString(code.code, { type: 'terminal', small: true })
    : await qrcode.toString(code.code, { type: 'utf8' })
  process.stdout.write(`${picture}\n`)
  process.stderr.write(`WhatsApp → Linked devices → Link a device. This code lives until ${code.expiresAt}.\n`)
}
