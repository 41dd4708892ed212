/** Connections of one process to PostgreSQL in its pool. */
export const POOL_SIZE = 10

/** With the one that listens and the one that holds its identity. */
export const CONNECTIONS_PER_PROCESS = POOL_SIZE + 2
