/** The plaintexts of the last messages by the hash of their payload: a repeat may come before its row is in any table. */
export interface RecentPlaintexts {
  get(encHash: Buffer): Uint8Array | undefined
  add(encHash: Buffer, plaintext: Uint8Array): void
}

const MAX_COUNT = 512
/** A history of chats may come as a message; we do not hold on to those. */
const MAX_LENGTH = 65_536

export function createRecentPlaintexts(): RecentPlaintexts {
  const byHash = new Map<string, Uint8Array>()
  return {
    get: (encHash) => byHash.get(encHash.toString('latin1')),
    add(encHash, plaintext) {
      if (plaintext.length > MAX_LENGTH) return
      byHash.set(encHash.toString('latin1'), plaintext)
      if (byHash.size <= MAX_COUNT) return
      for (const oldest of byHash.keys()) return void byHash.delete(oldest)
    },
  }
}
