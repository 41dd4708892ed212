import { announceAppState } from '../router/announce-app-state.js'
import { type BinaryNode, bytesOf, child, children, el } from '../wire/node-codec.js'
import type { IqAnswer, IqQuestion } from './answer-iq.js'

/** Patches after the version asked for, and new ones of the client, which its other companions hear of. */
export function answerAppState({ sim, companion, node }: IqQuestion): IqAnswer {
  const state = sim.appStateOf(companion.person)
  const changed: string[] = []
  const collections = children(child(node, 'sync'), 'collection').map((asked) => {
    const { name = '', version = '0' } = asked.attrs
    const patch = child(asked, 'patch')
    if (!patch) return collectionNode(name, state.since(name, Number(version)), state.version(name))
    if (!state.append(name, bytesOf(patch), Number(version))) return conflict(name)
    changed.push(name)
    return collectionNode(name, [], state.version(name))
  })
  const afterwards = () => {
    for (const name of changed) announceAppState(sim, companion.person, name, companion)
  }
  return { content: [el('sync', {}, collections)], afterwards }
}

function collectionNode(name: string, patches: Uint8Array[], version: number): BinaryNode {
  const attrs = { name, type: 'result', version, has_more_patches: 'false' }
  if (patches.length === 0) return el('collection', attrs)
  return el('collection', attrs, [
    el(
      'patches',
      {},
      patches.map((patch) => el('patch', {}, patch)),
    ),
  ])
}

function conflict(name: string): BinaryNode {
  return el('collection', { name, type: 'error' }, [el('error', { code: 409, text: 'conflict' })])
}
