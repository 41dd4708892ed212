/** What the doctor finds: one line of its report. */
export type Level = 'ok' | 'warning' | 'problem'

export interface Finding {
  /** Part of the product, as in `--json`: add, do not rename. */
  readonly check: string
  readonly level: Level
  readonly found: string
  /** What to do now; null where there is nothing to do. */
  readonly action: string | null
}

export const ok = (check: string, found: string): Finding => ({ check, level: 'ok', found, action: null })

export const warning = (check: string, found: string, action: string): Finding => ({
  check,
  level: 'warning',
  found,
  action,
})

export const problem = (check: string, found: string, action: string): Finding => ({
  check,
  level: 'problem',
  found,
  action,
})
