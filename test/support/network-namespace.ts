/**
 * A network namespace of Linux, joined to this machine by a veth pair, whose ways out can be cut one by one: packets are dropped
 * without a word, as when a cable is pulled. All rules are inside it: the machine's own firewall is never touched. Root only.
 */
import { execFileSync } from 'node:child_process'
import { requireDebian } from './debian.js'
import type { Place } from './launch.js'

/** both: nothing passes. replies: what is asked arrives, and the answers are lost. */
export type Cut = 'both' | 'replies'

export interface NetworkNamespace {
  readonly place: Place
  /** This machine's address as seen from inside; servers that are to be reached from there listen on it. */
  readonly hostAddress: string
  /** Both ends, as CIDR. */
  readonly subnet: string
  /** Drops what goes between it and a TCP port of this machine. */
  cut(port: number, what: Cut): void
  /** Packets dropped since the cut. */
  dropped(): number
  /** Lets everything pass again. */
  heal(): void
  /** Idempotent. Whatever still runs inside has no network any more. */
  remove(): void
}

/** @throws when it cannot be made: it needs root, and the kernel's namespaces */
export function createNetworkNamespace(): NetworkNamespace {
  requireDebian(['iproute2', 'iptables'])
  // Of the range for measurements (RFC 2544), which no network uses; four addresses for each process.
  const base = process.pid % 2 ** 14
  const address = (last: number): string => `198.18.${base >> 6}.${((base & 63) << 2) + last}`
  const [hostAddress, host] = [address(1), address(2)]
  const name = `mirante-${process.pid}`
  const [outer, inner] = [`mir${process.pid}`, 'uplink']
  const prefix = ['ip', 'netns', 'exec', name]
  process.once('exit', remove)
  try {
    run(['ip', 'netns', 'add', name])
    run(['ip', 'link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', name])
    run(['ip', 'address', 'add', `${hostAddress}/30`, 'dev', outer])
    run(['ip', 'link', 'set', outer, 'up'])
    run([...prefix, 'ip', 'address', 'add', `${host}/30`, 'dev', inner])
    run([...prefix, 'ip', 'link', 'set', inner, 'up'])
    run([...prefix, 'ip', 'link', 'set', 'lo', 'up'])
  } catch (error) {
    remove()
    throw error
  }

  return {
    place: { prefix, host },
    hostAddress,
    subnet: `${address(0)}/30`,
    cut(port, what) {
      run([...prefix, 'iptables', '-A', 'INPUT', '-p', 'tcp', '--sport', String(port), '-j', 'DROP'])
      if (what === 'both') {
        run([...prefix, 'iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', String(port), '-j', 'DROP'])
      }
    },
    dropped() {
      const lines = run([...prefix, 'iptables', '-L', '-n', '-v', '-x']).split('\n')
      return lines
        .filter((line) => line.includes(' DROP '))
        .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[0]), 0)
    },
    heal: () => void run([...prefix, 'iptables', '-F']),
    remove,
  }

  function remove(): void {
    process.off('exit', remove)
    for (const command of [
      ['ip', 'link', 'delete', outer],
      ['ip', 'netns', 'delete', name],
    ]) {
      try {
        run(command)
      } catch {
        // It was never made, or has been removed.
      }
    }
  }
}

function run([program, ...args]: readonly string[]): string {
  return execFileSync(program ?? '', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
