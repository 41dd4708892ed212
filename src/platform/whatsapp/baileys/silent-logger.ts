/**
 * The logger that Baileys gets: nothing of what it logs may be kept, since its payloads hold keys, messages and numbers.
 * Two of its lines are read all the same: they come immediately before the bytes of a message and of a receipt, and so tell
 * which frame is which. Were they to change, only precision would be lost (see send.ts) and crash points would not fire.
 */
import type { ILogger } from './load.js'

export interface FrameNotice {
  readonly label: 'message' | 'receipt'
  /** Of the message; a receipt has none. */
  readonly whatsappId?: string
}

export function silentLogger(onNextFrame: (frame: FrameNotice) => void = () => {}): ILogger {
  const ignore = (): void => {}
  const logger: ILogger = {
    level: 'silent',
    child: () => logger,
    trace: ignore,
    debug(payload, line) {
      const frame = line?.startsWith('sending ') ? readNotice(payload, line) : undefined
      if (frame) onNextFrame(frame)
    },
    info: ignore,
    warn: ignore,
    error: ignore,
  }
  return logger
}

function readNotice(payload: unknown, line: string): FrameNotice | undefined {
  if (line.startsWith('sending receipt for messages')) return { label: 'receipt' }
  const { msgId } = payload as { msgId?: string }
  return msgId && line.startsWith('sending message to ') ? { label: 'message', whatsappId: msgId } : undefined
}
