/** The WhatsApp id of message number `index`: who orders bare Baileys to send knows its ids before they are told. */
export const bareId = (tag: string, index: number): string =>
  `${tag}${index.toString(16).toUpperCase().padStart(8, '0')}`
