export type Reply =
  | { readonly status?: number; readonly body: unknown }
  | { readonly status?: number; readonly html: string }

export type AdminRequest = {
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly text: string
  json(): Record<string, unknown>
}

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `/admin/contacts/:phone/send` */
  readonly path: string
  handle(request: AdminRequest): Reply | Promise<Reply>
}

/** About input that cannot be used: becomes a 4xx with its sentence. */
export class BadInput extends Error {
  readonly status: number
  constructor(message: string, status = 400) {
    super(message)
    this.status = status
  }
}

export function matchRoute(routes: Route[], method: string, path: string) {
  for (const route of routes) {
    const params = route.method === method ? matchPath(route.path, path) : null
    if (params) return { route, params }
  }
  return null
}

function matchPath(pattern: string, path: string): Record<string, string> | null {
  const names = pattern.split('/')
  const parts = path.replace(/(.)\/$/, '$1').split('/')
  if (names.length !== parts.length) return null
  const params: Record<string, string> = {}
  for (const [index, name] of names.entries()) {
    const part = parts[index] ?? ''
    if (name.startsWith(':')) params[name.slice(1)] = decoded(part)
    else if (name !== part) return null
  }
  return params
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new BadInput(`"${part}" is not a well-formed part of an address`)
  }
}

export function optionalNumber(value: unknown, name: string, range: { min: number; max: number }): number | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const number = Number(value)
  if (!Number.isFinite(number) || number < range.min || number > range.max) {
    throw new BadInput(`"${name}" must be a number from ${range.min} to ${range.max}`)
  }
  return number
}

export function optionalText(value: unknown, name: string): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new BadInput(`"${name}" must be text`)
  return value
}

export function requiredText(value: unknown, name: string): string {
  const text = optionalText(value, name)
  if (!text) throw new BadInput(`"${name}" is missing`)
  return text
}

/** A phone number in digits; signs people write around it are dropped. */
export function phoneFrom(value: unknown, name = 'phone'): string {
  const phone = String(value ?? '').replace(/[\s()+-]/g, '')
  if (!/^\d{5,15}$/.test(phone)) throw new BadInput(`"${name}" must be a phone number of 5 to 15 digits`)
  return phone
}

export function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T | undefined {
  if (value === undefined || value === null) return undefined
  if (allowed.includes(value as T)) return value as T
  throw new BadInput(`"${name}" must be one of ${allowed.join(', ')}`)
}
