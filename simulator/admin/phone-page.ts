/** One self-contained page to play the phones in a browser: what it shows and does goes through the admin's HTTP. */
export const PHONE_PAGE = String.raw`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated phones</title>
<link rel="icon" href="data:,">
<style>
  * { box-sizing: border-box }
  body { margin: 0; font: 15px/1.4 system-ui, sans-serif; color: #1b2a24; background: #e9efec; height: 100vh; display: flex; flex-direction: column }
  header { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; padding: 10px 14px; background: #0f5c4c; color: #fff }
  header h1 { font-size: 16px; margin: 0 12px 0 0 }
  form { display: flex; gap: 6px; margin: 0 }
  input, select, button { font: inherit; padding: 6px 9px; border: 1px solid #b8c8c1; border-radius: 6px; background: #fff; color: inherit }
  button { background: #12876f; color: #fff; border-color: #12876f; cursor: pointer }
  button:focus-visible, input:focus-visible, select:focus-visible { outline: 3px solid #e8b93a; outline-offset: 1px }
  main { flex: 1; min-height: 0; display: grid; grid-template-columns: 280px 1fr }
  nav { overflow: auto; background: #fff; border-right: 1px solid #d4deda; padding: 8px }
  nav button { display: block; width: 100%; text-align: left; margin: 2px 0; background: none; color: inherit; border: 0 }
  nav button[aria-current=true] { background: #d9ece6 }
  nav small, .bubble small { color: #5d7168 }
  section { display: flex; flex-direction: column; min-width: 0; min-height: 0 }
  #chat { flex: 1; overflow: auto; padding: 14px; display: flex; flex-direction: column; gap: 6px }
  .bubble { max-width: 70%; padding: 7px 11px; border-radius: 10px; background: #fff; overflow-wrap: anywhere; white-space: pre-wrap }
  .bubble.mine { align-self: flex-end; background: #d3f0dd }
  .bubble small { display: block; text-align: right }
  .read { color: #1873b8 }
  footer { display: flex; flex-wrap: wrap; gap: 8px; padding: 10px; background: #dde6e2 }
  footer form { flex: 1; min-width: 240px }
  footer input { flex: 1 }
  #said { min-height: 1.4em; padding: 4px 14px; background: #fff7df }
  @media (max-width: 640px) { main { grid-template-columns: 1fr; grid-template-rows: 30% 1fr } }
</style>
</head>
<body>
<header>
  <h1>Simulated phones</h1>
  <form id="scan"><input name="qr" placeholder="Text of a QR to scan" aria-label="Text of a QR" required><input name="phone" placeholder="Number (may be empty)" aria-label="Number of the phone that scans" size="16"><button>Scan</button></form>
  <form id="code"><input name="phone" placeholder="Number" aria-label="Number of the phone" size="14" required><input name="code" placeholder="Pairing code" aria-label="Pairing code" size="11" required><button>Type</button></form>
  <form id="add"><input name="phone" placeholder="New contact: number" aria-label="Number of a new contact" size="18" required><button>Add</button></form>
</header>
<div id="said" role="status"></div>
<main>
  <nav aria-label="Contacts"></nav>
  <section>
    <div id="chat" aria-live="polite"></div>
    <footer>
      <label>with <select id="account" aria-label="Account to write to"></select></label>
      <form id="write"><input name="text" placeholder="Write as this contact" aria-label="Text" autocomplete="off" required><button>Send</button></form>
      <button type="button" data-call="voice">Call</button><button type="button" data-call="video">Video call</button>
    </footer>
  </section>
</main>
<script>
const $ = (selector) => document.querySelector(selector)
const TICKS = { queued: '🕓', sent: '✓', refused: '✗', delivered: '✓✓', read: '✓✓' }
const LINES = 300
let contact = ''
let shown = ''

async function ask(method, path, body) {
  const answer = await fetch(path, { method, body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body) })
  const json = await answer.json()
  if (!answer.ok) throw new Error(json.error)
  return json
}
function say(text) { $('#said').textContent = text }
function attempt(work) { return async (event) => { event.preventDefault(); try { await work(event); await look() } catch (error) { say(error.message) } } }
function el(tag, text, className) {
  const made = document.createElement(tag)
  made.textContent = text
  if (className) made.className = className
  return made
}
const field = (event, name) => event.target.elements[name].value.trim()
const at = (ms) => new Date(ms).toLocaleTimeString()

async function look() {
  const [{ contacts }, { accounts }] = await Promise.all([ask('GET', '/admin/contacts'), ask('GET', '/admin/accounts')])
  if (!contacts.some(({ phone }) => phone === contact)) contact = contacts[0] ? contacts[0].phone : ''
  const state = { contacts: contacts.slice(0, 500), accounts, contact, ...(contact ? await readChats(contact) : { lines: [] }) }
  const now = JSON.stringify(state)
  if (now === shown) return
  shown = now
  showContacts(state)
  showAccounts(accounts)
  showChat(state)
}
async function readChats(phone) {
  const path = '/admin/contacts/' + phone
  const [inbox, sent, made] = await Promise.all([ask('GET', path + '/inbox'), ask('GET', path + '/sent'), ask('GET', path + '/calls')])
  const lines = [
    ...inbox.messages.map((message) => ({ at: message.at, mine: false, text: message.text || '[' + message.kind + ']', note: 'from ' + message.from })),
    ...sent.messages.map((message) => ({ at: message.at, mine: true, text: message.text, note: 'to ' + message.to, state: message.state })),
    ...made.calls.map((call) => ({ at: call.at, mine: true, text: (call.video ? '📹' : '📞') + ' call: ' + call.state, note: 'to ' + call.to })),
  ]
  return { lines: lines.sort((a, b) => a.at - b.at).slice(-LINES) }
}
function showContacts({ contacts }) {
  $('nav').replaceChildren(...contacts.map(({ phone, name }) => {
    const button = el('button', name)
    button.append(document.createElement('br'), el('small', '+' + phone))
    button.setAttribute('aria-current', String(phone === contact))
    button.onclick = attempt(async () => { contact = phone })
    return button
  }))
  if (contacts.length === 0) $('nav').append(el('small', 'No contacts yet: add one above.'))
}
function showAccounts(accounts) {
  const select = $('#account')
  const chosen = select.value
  select.replaceChildren(...accounts.map(({ phone, name, online }) => {
    const option = el('option', (online ? '● ' : '○ ') + name + ' +' + phone)
    option.value = phone
    option.selected = phone === chosen
    return option
  }))
}
function showChat({ lines }) {
  const chat = $('#chat')
  const wasAtEnd = chat.scrollTop + chat.clientHeight >= chat.scrollHeight - 40
  chat.replaceChildren(...lines.map((line) => {
    const bubble = el('div', line.text, 'bubble' + (line.mine ? ' mine' : ''))
    const note = el('small', line.note + ' · ' + at(line.at) + ' ')
    if (line.state) {
      const ticks = el('span', TICKS[line.state] || line.state, line.state === 'read' ? 'read' : '')
      ticks.title = line.state
      note.append(ticks)
    }
    bubble.append(note)
    return bubble
  }))
  if (wasAtEnd) chat.scrollTop = chat.scrollHeight
}

$('#scan').onsubmit = attempt(async (event) => {
  const phone = field(event, 'phone')
  const { phone: linked } = await ask('POST', '/admin/mock-phone/scan-qr' + (phone ? '?phone=' + encodeURIComponent(phone) : ''), field(event, 'qr'))
  event.target.reset()
  say('Scanned by +' + linked)
})
$('#code').onsubmit = attempt(async (event) => {
  say('Typing …')
  const { phone } = await ask('POST', '/admin/mock-phone/enter-code', { phone: field(event, 'phone'), code: field(event, 'code') })
  event.target.reset()
  say('Linked to +' + phone)
})
$('#add').onsubmit = attempt(async (event) => {
  const made = await ask('POST', '/admin/contacts', { phones: [field(event, 'phone')], receipts: 'read' })
  contact = made.contacts[0].phone
  event.target.reset()
  say('')
})
$('#write').onsubmit = attempt(async (event) => {
  await ask('POST', '/admin/contacts/' + contact + '/send', { to: $('#account').value, text: event.target.elements.text.value })
  event.target.reset()
  say('')
})
for (const button of document.querySelectorAll('[data-call]')) {
  button.onclick = attempt(async () => {
    await ask('POST', '/admin/contacts/' + contact + '/call', { to: $('#account').value, video: button.dataset.call === 'video' })
    say('Ringing …')
  })
}
async function follow() {
  try { await look() } catch (error) { say(error.message) }
  setTimeout(follow, 1000)
}
follow()
</script>
</body>
</html>
`
