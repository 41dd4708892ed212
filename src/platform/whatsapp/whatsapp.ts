/**
 * The WhatsApp port. A provider knows one way to reach WhatsApp; a connection is one socket of one number, from `connect`
 * to its single `close` event. Who owns the number, when to reconnect, what to store: all of that is decided by its caller.
 *
 * What every provider must keep (whatsapp.contract.ts):
 * - No byte leaves before what it stands on is durable in the journal: keys of a send, the inbound row of a receipt of ours,
 *   a receipt of theirs before we acknowledge it.
 * - `send` resolves only after WhatsApp's server acknowledged the message; else it says whether the bytes may have left.
 * - A damaged frame, a refused upgrade, a silent server or a lost acknowledgement ends this connection and nothing more,
 *   always with exactly one `close` event; after it there is no other event.
 */
import type { InstanceId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { CloseReason } from './close-reason.js'
import type { InboundContent, MediaType, OutboundContent } from './content.js'
import type { GroupChange, Groups } from './group.js'
import type { WhatsAppAddress } from './jid.js'

export interface Provider {
  readonly name: 'baileys'
  /** Begins to connect and returns at once; what happens comes as events. Throws only when the options are unusable. */
  connect(options: ConnectOptions): Promise<Connection>
  /** Loads what `connect` will need, so that the first connection does not wait for it. May be left out. */
  warmUp?(): Promise<void>
  /** A fresh WhatsApp message id, chosen when a message is accepted. */
  newWhatsappId(): string
  /**
   * Reads a stored raw entry again, without a connection: after a crash between receipt and ingest. Asynchronous because
   * the library is loaded when first needed. Rejects on a payload that it did not write.
   */
  readRaw(payload: Buffer): Promise<RawReading>
}

export interface ConnectOptions {
  readonly instanceId: InstanceId
  /** How the linked device and its owner are named towards WhatsApp. */
  readonly displayName: string
  readonly credentials: CredentialSnapshot
  readonly journal: Journal
  readonly logger: Logger
  /** Called in order, never re-entrantly, never after `close`. Must not throw; must not be waited for. */
  readonly onEvent: (event: ConnectionEvent) => void
  /** What was once sent under this id, for a recipient that asks for it again. */
  readonly findSent: (whatsappId: string) => Promise<SentMessage | undefined>
  /** The stored raw entry of an encrypted payload that was received before, by its hash. */
  readonly findRaw: (encHash: Buffer) => Promise<Buffer | undefined>
}

/** All credentials of an instance as stored: kind → id → value (the provider's own encoding). Empty for a new one. */
export type CredentialSnapshot = ReadonlyMap<string, ReadonlyMap<string, Buffer>>

export interface CredentialChange {
  readonly kind: string
  readonly id: string
  /**
   * The value as of this entry, encoded when the journal is flushed; null deletes. When a flush holds several changes of a
   * key, only the **last** one is read and written, so many changes cost one row. A later change never shows through an
   * earlier one: what a flush writes is exactly the state at the position up to which it took entries.
   */
  readonly read: () => Buffer | null
}

/**
 * The journal of one lease: memory is the truth, the journal makes it durable. Entries are appended in memory and flushed in
 * batches for all numbers of the process; everything appended before a position is durable when that position is. A flush
 * takes whole entries, in order, and writes them together or not at all.
 *
 * Before the same number connects again, its caller waits until the tail is durable and loads the credentials anew.
 */
export interface Journal {
  /** Takes effect in memory at once. Returns the position of the entry. */
  append(entry: JournalEntry): number
  /** Position of the last entry appended; 0 when there is none. */
  readonly tail: number
  /** Everything up to here is durable. */
  readonly durable: number
  /**
   * Asks for a flush and resolves when `position` is durable. Rejects when the lease was lost, the write failed, or it took
   * longer than the journal's limit (5 s): what waited for it must then never reach the wire. A JournalError says which.
   */
  whenDurable(position: number): Promise<void>
}

/** Why a journal gave up. Anything else that `whenDurable` rejects with counts as NOT_DURABLE. */
export class JournalError extends Error {
  readonly reason: 'NOT_DURABLE' | 'LEASE_LOST'

  constructor(reason: 'NOT_DURABLE' | 'LEASE_LOST', options: { cause?: unknown } = {}) {
    super(reason, options)
    this.name = 'JournalError'
    this.reason = reason
  }
}

export interface JournalEntry {
  readonly changes?: readonly CredentialChange[]
  readonly inbound?: {
    /** SHA-256 of the encrypted payload. */
    readonly encHash: Buffer
    /** Stanza and plaintext, in the provider's encoding, for `readRaw`. */
    readonly payload: Buffer
  }
  /** Told once more as an event, when it is durable. WhatsApp repeats it only until we acknowledge it. */
  readonly receipt?: Receipt
}

export interface Connection {
  /**
   * Sends under the given WhatsApp id and resolves at the server's acknowledgement. Sending the same id again is how a
   * message is repeated: whoever has it drops the copy. Rejects with SendError.
   */
  send(message: OutboundMessage, options: { signal: AbortSignal; ackTimeoutMs: number }): Promise<ServerAck>
  /**
   * Gives a file to WhatsApp and resolves to what a message needs of it (`SentMessage.media`), for any number of messages
   * and recipients. Holds keys. Rejects with MediaError. Left out by a provider that cannot.
   */
  uploadMedia?(file: FileToSend, options: { signal: AbortSignal }): Promise<Buffer>
  /**
   * The file of a message (`InboundMessage.mediaSource`), decrypted, streamed; asks the phone for it again when it has
   * expired. Ends with MediaError when it does not come whole and unchanged: what was read until then is worth nothing.
   */
  downloadMedia?(source: Buffer, options: { signal: AbortSignal }): AsyncIterable<Uint8Array>
  /** Asks WhatsApp about a number (digits). Rejects when there is no answer. */
  checkNumber(waId: string): Promise<NumberCheck>
  /** The same about many, in one question; a check for each, in their order. */
  checkNumbers(waIds: readonly string[]): Promise<readonly NumberCheck[]>
  /**
   * Asks for a code that the owner of this number (digits) types on the phone in place of scanning, while QRs are on show;
   * those stay good. The code is good as long as the connection. Rejects with PairingRefused, or when there is no answer.
   * Left out by a provider that cannot.
   */
  pairingCode?(waId: string): Promise<string>
  /** What WhatsApp says of writing to strangers, after it has refused that (463). Rejects without an answer. May be left out. */
  restriction?(): Promise<Restriction>
  /**
   * Whether this person gave us what lets a restricted number write to them. False where WhatsApp does not ask for that, and
   * goes by what it knows itself. May be left out.
   */
  isTrustedBy?(person: WhatsAppAddress): boolean
  /** Blocks a person, or no longer does. Rejects when WhatsApp does not confirm. May be left out. */
  setBlocked?(person: WhatsAppAddress, blocked: boolean): Promise<void>
  /** Rejects a call that this connection told of. Rejects, itself, when WhatsApp does not answer. May be left out. */
  rejectCall?(callId: string): Promise<void>
  /** Tells the authors that their messages were read. Rejects when not connected. */
  markRead(chat: WhatsAppAddress, marks: readonly ReadMark[]): Promise<void>
  /** Shows in a chat what we are doing; WhatsApp lets it fade after some seconds. */
  showActivity(chat: WhatsAppAddress, activity: ChatActivity): Promise<void>
  /** Whether others see this number as online. */
  showPresence(presence: 'available' | 'unavailable'): Promise<void>
  readonly groups: Groups
  /** Removes this device from the account, then closes with LOGOUT. Rejects, and goes on, when WhatsApp does not confirm. */
  logout(): Promise<void>
  /** Flushes and closes politely; the session stays valid. The `close` event says CLOSED. */
  close(): Promise<void>
  /** Cuts the socket now and drops what is held back. The `close` event carries the reason. */
  terminate(reason: CloseReason): void
}

export interface OutboundMessage {
  readonly whatsappId: string
  readonly to: WhatsAppAddress
  readonly content: OutboundContent
  /** Of a text: what is shown of its link. */
  readonly preview?: LinkPreview | undefined
  /** Who may see it, of a status. */
  readonly audience?: readonly WhatsAppAddress[] | undefined
  /** What it answers, changes, or judges. */
  readonly reference?: MessageReference | undefined
  /** Of a poll, or of the poll that a vote is for: 32 bytes that the keys of its votes are made of. */
  readonly secret?: Buffer | undefined
  /** Of a content with a file: what `uploadMedia` resolved to. */
  readonly media?: Buffer | undefined
}

/** A file as WhatsApp wants it described. */
export interface FileToSend {
  readonly type: MediaType
  readonly mimeType: string
  readonly size: number
  readonly sha256: Buffer
  /** Of a document. */
  readonly filename?: string | undefined
  readonly width?: number | undefined
  readonly height?: number | undefined
  readonly seconds?: number | undefined
  /** 64 values from 0 to 100. */
  readonly waveform?: Buffer | undefined
  /** A small JPEG. */
  readonly thumbnail?: Buffer | undefined
  /** Reads it from its beginning; called more than once. */
  open(): Promise<AsyncIterable<Uint8Array>>
}

/**
 * `unreachable`: it may succeed later. `expired`: WhatsApp does not keep it, and the phone does not have it. `corrupt`: it is
 * not what its sender encrypted.
 */
export type MediaFailure = 'unreachable' | 'expired' | 'corrupt'

export class MediaError extends Error {
  readonly code: MediaFailure

  constructor(code: MediaFailure, options: { cause?: unknown } = {}) {
    super(`media ${code}`, options)
    this.name = 'MediaError'
    this.code = code
  }
}

export interface LinkPreview {
  readonly url: string
  readonly title: string
  readonly description?: string
  /** A small JPEG. */
  readonly thumbnail?: Buffer
}

/** Another message, as WhatsApp names it. */
export interface MessageReference {
  readonly whatsappId: string
  /** Undefined: our own number. */
  readonly author: WhatsAppAddress | undefined
  /** What it said, where known: shown as the quotation. */
  readonly content?: OutboundContent | InboundContent | undefined
}

/** A vote as it travels: readable with the secret of its poll. */
export interface SealedVote {
  readonly payload: Buffer
  readonly iv: Buffer
}

export type SentMessage = Omit<OutboundMessage, 'whatsappId'>

export interface ServerAck {
  /** By WhatsApp's clock. */
  readonly at: Date
  /** By ours: when its bytes were let go. */
  readonly leftAt?: Date
}

export interface NumberCheck {
  readonly exists: boolean
  /** The number as WhatsApp knows it; differs from the asked one for some Brazilian mobiles. */
  readonly waId?: string
  readonly lid?: string
  readonly username?: string
}

export interface ReadMark {
  readonly whatsappId: string
  /** In a group. */
  readonly author?: WhatsAppAddress | undefined
}

export type ChatActivity = 'typing' | 'recording' | 'paused'

/** Why a send did not succeed, and whether its bytes may have left. */
export class SendError extends Error {
  /** Of this attempt. 'no': it surely did not reach WhatsApp; 'maybe': only a resend under the same id is safe. */
  readonly sent: 'no' | 'maybe'
  /** True when WhatsApp refused this message: trying again is useless. */
  readonly final: boolean
  readonly code: string

  constructor(
    code: string,
    { sent, final = false, cause }: { sent: 'no' | 'maybe'; final?: boolean; cause?: unknown },
  ) {
    super(code, cause === undefined ? {} : { cause })
    this.name = 'SendError'
    this.code = code
    this.sent = sent
    this.final = final
  }
}

/** WhatsApp gives no pairing code for this number, or none now. */
export class PairingRefused extends Error {
  /** WhatsApp's own. */
  readonly code: string

  constructor(code: string) {
    super(`pairing refused with ${code}`)
    this.name = 'PairingRefused'
    this.code = code
  }
}

export type ConnectionEvent =
  | { readonly type: 'qr'; readonly code: string; readonly expiresAt: Date }
  /** The QR was scanned and WhatsApp accepted the device; a restart follows. */
  | { readonly type: 'paired' }
  /** Logged in; history and keys may still be loading. */
  | { readonly type: 'loading' }
  | { readonly type: 'open'; readonly waId: string; readonly lid?: string; readonly pushName?: string }
  /**
   * Told when its raw entry is durable. A message may be told again under its id: when WhatsApp delivers it again after a
   * crash, when its sender encrypts it anew, and when what was told as `undecryptable` has healed after all.
   */
  | { readonly type: 'message'; readonly message: InboundMessage }
  | { readonly type: 'receipt'; readonly receipt: Receipt }
  /** A phone and a LID are one person. */
  | { readonly type: 'identity'; readonly waId: string; readonly lid: string }
  /** This person gave us what lets a restricted number write to them (`isTrustedBy`), or gave it again. */
  | { readonly type: 'trusted'; readonly by: WhatsAppAddress }
  /** The address book of the phone names a person; null: it does no more. */
  | { readonly type: 'contact'; readonly address: WhatsAppAddress; readonly savedName: string | null }
  /** A raw entry that is no message to ingest: protocol, app-state, history … */
  | { readonly type: 'raw-settled'; readonly encHash: Buffer; readonly as: string }
  /**
   * After a reconnect, behind the messages themselves: how many messages WhatsApp said had waited for us, how many of them
   * came, and how many of these could not be decrypted so far.
   */
  | { readonly type: 'caught-up'; readonly announced: number; readonly received: number; readonly unreadable: number }
  | { readonly type: 'group'; readonly change: GroupChange }
  | { readonly type: 'unknown-stanza'; readonly tag: string; readonly detail: string }
  /** Somebody calls, or called while we were away (`offline`). Told once on a connection, and perhaps again on the next. */
  | { readonly type: 'call'; readonly call: Call }
  /** What WhatsApp shows of our account, as far as it is known or has changed; no picture is null. */
  | { readonly type: 'profile'; readonly pushName?: string; readonly pictureUrl?: string | null }
  /** Whom our account has blocked: `complete` is the whole list, else what has changed. */
  | { readonly type: 'blocks'; readonly changes: readonly BlockChange[]; readonly complete: boolean }
  /** Proof of life: a frame came in. Rate-limited by the provider to one a second. */
  | { readonly type: 'alive' }
  | { readonly type: 'close'; readonly reason: CloseReason; readonly detail: string }

export interface InboundMessage {
  readonly whatsappId: string
  readonly chat: WhatsAppAddress
  /** Undefined when our own number wrote it on another device. */
  readonly sender: WhatsAppAddress | undefined
  readonly pushName?: string
  readonly at: Date
  readonly content: InboundContent
  /** What it answers, changes, or judges. */
  readonly reference?: MessageReference
  /** Of a poll. */
  readonly secret?: Buffer
  /** Of a vote: what `content` lacks until the poll's secret is found. */
  readonly sealedVote?: SealedVote
  /** Where its media is and how it is decrypted, in the provider's own encoding. Holds keys. */
  readonly mediaSource?: Buffer
  /** The raw entries that this message settles. */
  readonly encHashes: readonly Buffer[]
  /** It waited at the server while we were away. */
  readonly offline: boolean
}

/** Whether this number may not write to people who never wrote to it, and until when, if WhatsApp says so. */
export type Restriction = { readonly active: false } | { readonly active: true; readonly until?: Date }

export interface BlockChange {
  readonly person: WhatsAppAddress
  readonly blocked: boolean
}

export interface Call {
  readonly callId: string
  readonly from: WhatsAppAddress
  readonly video: boolean
  /** A call of a group. */
  readonly groupJid?: string
  readonly at: Date
  /** It rang while we were away. */
  readonly offline: boolean
}

export interface Receipt {
  readonly whatsappIds: readonly string[]
  readonly chat: WhatsAppAddress
  /** `sent` is a late acknowledgement by the server; `failed` a late refusal. */
  readonly status: 'sent' | 'delivered' | 'read' | 'played' | 'failed'
  readonly at: Date
  readonly errorCode?: string
  /** Who in the group delivered, read or played it; with both addresses where known. Absent: not a group, or its server. */
  readonly member?: WhatsAppAddress
}

export type RawReading =
  | { readonly kind: 'message'; readonly message: Omit<InboundMessage, 'encHashes'> }
  | { readonly kind: 'other'; readonly as: string }
