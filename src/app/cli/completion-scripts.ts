/** The shells' own ways to say the same. Pure. */

/** What may stand after a command. */
export interface CompletedCommand {
  /** `dlq retry`. */
  readonly path: string
  readonly description: string
  readonly flags: readonly CompletedFlag[]
  /** Words for its first place: subcommands, shells. */
  readonly words: readonly string[]
  /** Its first place is an instance. */
  readonly takesInstance: boolean
}

export interface CompletedFlag {
  readonly name: string
  readonly description: string
  readonly takesValue: boolean
}

const topLevel = (commands: readonly CompletedCommand[]): string[] =>
  commands.map(({ path }) => path).filter((path) => !path.includes(' '))

const flagWords = ({ flags }: CompletedCommand): string => flags.map(({ name }) => `--${name}`).join(' ')

/** Flags that are followed by the name of an instance. */
const INSTANCE_FLAG = '--instance'

/** `path) flags=…; words=…; instance=…;;` for each command: bash and zsh read the same. */
function cases(commands: readonly CompletedCommand[]): string {
  return commands
    .map((command) => {
      const parts = [`flags='${flagWords(command)}'`, `words='${command.words.join(' ')}'`]
      return `    '${command.path}') ${[...parts, `instance=${command.takesInstance ? 1 : 0}`].join('; ')} ;;`
    })
    .join('\n')
}

/** The path is made of the words before the cursor that are neither options nor their values. */
export function bashScript(commands: readonly CompletedCommand[]): string {
  return `# mirante completion bash. Load it with: source <(mirante completion bash)
_mirante() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local path='' flags='' words='' instance=0 places=0 skip=0 index word
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    [[ $word == '=' ]] && continue
    if [[ $skip == 1 ]]; then skip=0; continue; fi
    [[ " $_mirante_valued " == *" $word "* ]] && skip=1
    [[ $word == -* ]] && continue
    if [[ -z $path ]]; then path="$word"
    elif [[ $places == 0 && " $_mirante_groups " == *" $path "* ]]; then path="$path $word"
    else places=$((places + 1)); fi
  done
  case "$path" in
    '') flags='--help --version'; words='${topLevel(commands).join(' ')}' ;;
${cases(commands)}
  esac
  COMPREPLY=()
  if [[ $previous == ${INSTANCE_FLAG} || ( $instance == 1 && $places == 0 && $current != -* ) ]]; then
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" complete-instances 2>/dev/null)" -- "$current"))
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
  elif [[ $places == 0 ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}
_mirante_groups='${groups(commands).join(' ')}'
_mirante_valued='${valuedFlags(commands).join(' ')}'
complete -o default -F _mirante mirante
`
}

export function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef mirante
# mirante completion zsh. Load it with: source <(mirante completion zsh)
_mirante() {
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}" program="\${words[1]}"
  local -a typed; typed=("\${(@)words[2,CURRENT-1]}")
  local path_='' flags='' choices='' instance=0 places=0 skip=0 word
  for word in "\${typed[@]}"; do
    if [[ $skip == 1 ]]; then skip=0; continue; fi
    [[ " $_mirante_valued " == *" $word "* ]] && skip=1
    [[ $word == -* ]] && continue
    if [[ -z $path_ ]]; then path_="$word"
    elif [[ $places == 0 && " $_mirante_groups " == *" $path_ "* ]]; then path_="$path_ $word"
    else places=$((places + 1)); fi
  done
  case "$path_" in
    '') flags='--help --version'; choices='${topLevel(commands).join(' ')}' ;;
${cases(commands).replaceAll('words=', 'choices=')}
  esac
  if [[ $previous == ${INSTANCE_FLAG} || ( $instance == 1 && $places == 0 && $current != -* ) ]]; then
    compadd -- \${(f)"$($program complete-instances 2>/dev/null)"}
  elif [[ $current == -* ]]; then
    compadd -- \${=flags}
  elif [[ $places == 0 ]]; then
    compadd -- \${=choices}
  fi
}
_mirante_groups='${groups(commands).join(' ')}'
_mirante_valued='${valuedFlags(commands).join(' ')}'
compdef _mirante mirante
`
}

export function fishScript(commands: readonly CompletedCommand[]): string {
  const top = topLevel(commands).join(' ')
  const lines = commands.flatMap((command) => [
    ...fishName(command, top),
    ...fishFlags(command),
    ...fishPlaces(command),
  ])
  return `# mirante completion fish. Load it with: mirante completion fish | source
complete -c mirante -f
complete -c mirante -n 'not __fish_seen_subcommand_from ${top}' -l help -d 'Show the commands'
complete -c mirante -n 'not __fish_seen_subcommand_from ${top}' -l version -d 'Show the version'
${lines.join('\n')}
`
}

function fishName({ path, description }: CompletedCommand, top: string): string[] {
  const [name, member] = path.split(' ')
  const when = member === undefined ? `not __fish_seen_subcommand_from ${top}` : `__fish_seen_subcommand_from ${name}`
  return [`complete -c mirante -n '${when}' -a ${member ?? name} -d '${quoted(description)}'`]
}

function fishFlags(command: CompletedCommand): string[] {
  return command.flags.map(({ name, description, takesValue }) => {
    const value = takesValue ? ' -r' : ''
    const instances = `--${name}` === INSTANCE_FLAG ? ` -a '(mirante complete-instances 2>/dev/null)'` : ''
    return `complete -c mirante -n '${within(command)}' -l ${name}${value}${instances} -d '${quoted(description)}'`
  })
}

function fishPlaces(command: CompletedCommand): string[] {
  if (command.takesInstance) {
    return [`complete -c mirante -n '${within(command)}' -a '(mirante complete-instances 2>/dev/null)'`]
  }
  // Members of a group stand on their own lines, with their descriptions.
  return command.flags.length === 0 || command.words.length === 0
    ? []
    : [`complete -c mirante -n '${within(command)}' -a '${command.words.join(' ')}'`]
}

const within = ({ path }: CompletedCommand): string =>
  path
    .split(' ')
    .map((word) => `__fish_seen_subcommand_from ${word}`)
    .join('; and ')

/** What follows one of these is its value. */
const valuedFlags = (commands: readonly CompletedCommand[]): string[] => [
  ...new Set(
    commands.flatMap(({ flags }) => flags.filter(({ takesValue }) => takesValue).map(({ name }) => `--${name}`)),
  ),
]

const groups = (commands: readonly CompletedCommand[]): string[] =>
  commands.filter(({ flags, words }) => flags.length === 0 && words.length > 0).map(({ path }) => path)

const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
