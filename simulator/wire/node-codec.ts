import { type BinaryNode, decodeBinaryNode, encodeBinaryNode } from 'baileys'

export type { BinaryNode } from 'baileys'

export type Content = NonNullable<BinaryNode['content']>

/** The binary XML of the wire. The library's codec stands behind this seam so that an own one can replace it. */
export const encodeNode = (node: BinaryNode): Buffer => encodeBinaryNode(node)
export const decodeNode = (bytes: Buffer): Promise<BinaryNode> => decodeBinaryNode(bytes)

type Attrs = Record<string, string | number | undefined>

/**
 * Builds a node. The encoder counts a non-string attribute but does not write it, which corrupts the frame; so numbers
 * become text here and absent values disappear.
 */
export function el(tag: string, attrs: Attrs = {}, content?: Content): BinaryNode {
  const written: Record<string, string> = {}
  for (const [name, value] of Object.entries(attrs)) {
    if (value !== undefined) written[name] = String(value)
  }
  return content === undefined ? { tag, attrs: written } : { tag, attrs: written, content }
}

export function children(node: BinaryNode | undefined, tag?: string): BinaryNode[] {
  if (!node || !Array.isArray(node.content)) return []
  return tag ? node.content.filter((child) => child.tag === tag) : node.content
}

export function child(node: BinaryNode | undefined, tag: string): BinaryNode | undefined {
  return children(node, tag)[0]
}

/** A node's content as bytes, whichever way the codec chose to read it. */
export function bytesOf(node: BinaryNode | undefined): Buffer {
  if (!node || node.content === undefined || Array.isArray(node.content)) return Buffer.alloc(0)
  return typeof node.content === 'string' ? Buffer.from(node.content) : Buffer.from(node.content)
}

export const textOf = (node: BinaryNode | undefined): string => bytesOf(node).toString('utf8')

export function integerOf(node: BinaryNode | undefined): number {
  return bytesOf(node).reduce((value, byte) => value * 256 + byte, 0)
}

export function bigEndian(value: number, size = 4): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}
