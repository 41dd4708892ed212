/**
 * Errands: what the holder of an instance does on its live connection when another process asks it to, and answers. The
 * connection goes on meanwhile; errands do not wait for one another.
 */

/** As JSON. Never a secret: what must be secret is sealed before. */
export type CommandArgs = Readonly<Record<string, unknown>>
export type CommandResult = Readonly<Record<string, unknown>>

/** The closed list, whoever carries them out: the session itself, or one of its attachments. */
export type ErrandKind =
  | 'pairing_code'
  | 'check_numbers'
  | 'group_list'
  | 'group_read'
  | 'group_create'
  | 'group_update'
  | 'group_participants'
  | 'group_leave'
  | 'group_invite'
  | 'group_join'
  | 'chat_read'
  | 'chat_typing'
  | 'presence'
  | 'set_block'
