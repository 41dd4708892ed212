import { publicEventTypes } from '../../features/events/event.js'
import { UsageError } from '../exit-codes.js'
import { didYouMean } from './suggest.js'

/** @throws UsageError with what was probably meant */
export function assertEventType(type: string): void {
  if ((publicEventTypes as readonly string[]).includes(type)) return
  const known = publicEventTypes.join(', ')
  throw new UsageError(`No event is called ${type}.${didYouMean(type, publicEventTypes)} There are: ${known}`)
}
