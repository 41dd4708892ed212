/**
 * RabbitMQ as Mirante uses it: to tell others of what PostgreSQL holds already. It is never the truth.
 *
 * Promises: connects again for ever, each time anew with whatever queues and exchanges it needs; nothing waits for it longer
 * than it says, and its absence throws nothing but refusals of `send`. Publishing and consuming have a connection each: an
 * alarm at the server blocks the connections that publish, and with them whatever else they carry.
 */
import type { ConsumerProps, Envelope } from 'rabbitmq-client'
import type { Service } from '../../kernel/service.js'

export type QueueDeclaration = NonNullable<ConsumerProps['queueOptions']> & { readonly queue: string }

export interface RabbitSender {
  /** Resolves when the server has confirmed it; rejects when there is no connection, an alarm, or no answer for 5 s. */
  send(envelope: Envelope, body: string | Buffer): Promise<void>
}

export interface RabbitConsumer {
  close(): Promise<void>
}

export interface Consuming extends ConsumerProps {
  /** Acknowledged when this returns. Must not throw. */
  readonly onMessage: (body: unknown) => void
  /** After each (re)connect, and when the queue was made anew: messages may have been missed. */
  readonly onReady: () => void
}

export interface Rabbit extends Service {
  /** Whether what is sent now would be taken: there is a connection, and no alarm. */
  readonly takesMessages: boolean
  /** Called each time that it begins to take messages. */
  onTakesMessages(listener: () => void): void
  /** @param queues declared before the first message and after each reconnect */
  sender(queues?: readonly QueueDeclaration[]): RabbitSender
  /** Declares a durable topic exchange, once per connection. */
  declareTopic(exchange: string): Promise<void>
  consume(consuming: Consuming): RabbitConsumer
  /** How many messages wait in a queue; undefined when there is no such queue, or no answer. */
  messageCount(queue: string): Promise<number | undefined>
}
