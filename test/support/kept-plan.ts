/**
 * How PostgreSQL runs a named statement once it keeps its plan: made without knowing the values, perhaps while the tables are
 * empty, and used when they are large.
 */
import sql, { raw, type Sql } from 'sql-template-tag'
import type { Database, Queryable } from '../../src/platform/database/database.js'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Index Cond'?: string
  readonly Plans?: readonly PlanNode[]
}

/** The statement that a store function sends. */
export async function statementOf(send: (db: Queryable) => Promise<unknown>): Promise<Sql> {
  let sent: Sql | undefined
  const catching: Queryable = {
    query: async (statement) => {
      sent ??= statement
      return []
    },
    execute: async (statement) => {
      sent ??= statement
      return 0
    },
  }
  await send(catching)
  if (!sent) throw new Error('nothing was sent')
  return sent
}

/** What the kept plan of a statement reads whole: tables, and indexes without a condition. */
export async function readWhole(db: Database, statement: Sql): Promise<string[]> {
  return db.tx(async (tx) => {
    await tx.execute(sql`set local plan_cache_mode = force_generic_plan`)
    await tx.execute(raw(`prepare examined as ${statement.text}`))
    const nulls = statement.values.map(() => 'null').join(', ')
    const [row] = await tx.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
      raw(`explain (format json) execute examined${nulls && `(${nulls})`}`),
    )
    await tx.execute(sql`deallocate examined`)
    return row ? nodesOf(row['QUERY PLAN'][0].Plan).filter(isWhole).map(nameOf) : ['no plan']
  })
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

const isWhole = (node: PlanNode): boolean =>
  node['Node Type'] === 'Seq Scan' || (node['Node Type'].includes('Index') && node['Index Cond'] === undefined)

const nameOf = (node: PlanNode): string => node['Index Name'] ?? node['Relation Name'] ?? node['Node Type']
