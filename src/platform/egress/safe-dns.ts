/**
 * The guard against server-side request forgery. It judges addresses, never spellings: a URL is called only when every
 * address that its host resolves to may be called, and the connection goes to exactly those addresses, so neither a clever
 * spelling nor a name that resolves differently the second time gets anywhere.
 */
import { lookup } from 'node:dns/promises'
import ipaddr from 'ipaddr.js'
import { EgressError } from './egress-error.js'

/** All addresses of a host name, as text. Rejects or resolves to none when there are none. */
export type Resolve = (hostname: string) => Promise<readonly string[]>

export const systemResolve: Resolve = async (hostname) => {
  const found = await lookup(hostname, { all: true, verbatim: true })
  return found.map(({ address }) => address)
}

/** Where a connection would go, apart from the address. */
export interface Target {
  /** As in a URL, without the brackets of IPv6. */
  readonly hostname: string
  readonly port: number
  readonly secure: boolean
}

export interface AddressRules {
  /** CIDR ranges that may be called besides public addresses, on any port, with or without TLS. */
  readonly allow: readonly string[]
  /** Ports of public addresses that may be called. */
  readonly ports: readonly number[]
  /** Whether public addresses may be called without TLS. */
  readonly allowHttp: boolean
}

export const defaultPorts: readonly number[] = [443, 80, 8443, 8080]

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Range = [Address, number]

export interface SafeDns {
  /** The addresses to connect to. Rejects with EgressError: `dns`, or `refused_address` when a single one may not be called. */
  addressesOf(target: Target): Promise<readonly string[]>
}

export function createSafeDns(rules: AddressRules, resolve: Resolve = systemResolve): SafeDns {
  const allowed = rules.allow.map((range): Range => ipaddr.parseCIDR(range))
  return {
    async addressesOf(target) {
      // A literal address is judged before anything is asked of a resolver.
      const addresses = ipaddr.isValid(target.hostname) ? [target.hostname] : await resolveName(target.hostname)
      if (!addresses.every((address) => mayCall(address, target))) throw new EgressError('refused_address')
      return addresses
    },
  }

  async function resolveName(hostname: string): Promise<readonly string[]> {
    const addresses = await resolve(hostname).catch((cause: unknown) => {
      throw new EgressError('dns', { cause })
    })
    if (addresses.length === 0) throw new EgressError('dns')
    return addresses
  }

  function mayCall(text: string, { port, secure }: Target): boolean {
    const address = parseAddress(text)
    if (!address) return false
    if (allowed.some((range) => inRange(address, range))) return true
    return isPublic(address) && rules.ports.includes(port) && (secure || rules.allowHttp)
  }
}

const GLOBAL_UNICAST: Range = ipaddr.parseCIDR('2000::/3')
const NAT64: Range = ipaddr.parseCIDR('64:ff9b::/96')
/** Public by its range, but the door to the host's own platform on Azure. */
const PLATFORM_DOORS: readonly string[] = ['168.63.129.16']

/** Unmaps ::ffff:a.b.c.d. Undefined for what is no address, and for the dead dotted forms that parsers read differently. */
function parseAddress(text: string): Address | undefined {
  if (!ipaddr.isValid(text)) return undefined
  if (text.includes(':') && text.includes('.') && !/^(::ffff:|64:ff9b::)[\d.]+$/i.test(text)) return undefined
  return ipaddr.process(text)
}

function isPublic(address: Address): boolean {
  if (address instanceof ipaddr.IPv4) {
    return address.range() === 'unicast' && !PLATFORM_DOORS.includes(address.toString())
  }
  // NAT64 is how a network without IPv4 reaches public IPv4: what counts is the address inside.
  if (inRange(address, NAT64)) return isPublic(new ipaddr.IPv4(address.toByteArray().slice(-4)))
  return address.range() === 'unicast' && inRange(address, GLOBAL_UNICAST)
}

function inRange(address: Address, [network, bits]: Range): boolean {
  if (address instanceof ipaddr.IPv4) return network instanceof ipaddr.IPv4 && address.match(network, bits)
  return network instanceof ipaddr.IPv6 && address.match(network, bits)
}
