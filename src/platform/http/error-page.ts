/** The page that every problem document's `type` points to: one section a code, made from the catalogue. */
import { errorCatalogue } from '../../kernel/errors.js'

export function errorPage(): string {
  const rows = Object.entries(errorCatalogue)
    .map(
      ([
        code,
        { status, title, action, retry },
      ]) => `<tr id="${code}"><td><a href="#${code}"><code>${code}</code></a></td>
<td>${status}</td><td>${escapeHtml(title)}</td><td>${escapeHtml(action)}</td><td>${retry ? 'yes' : 'no'}</td></tr>`,
    )
    .join('\n')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Errors of Mirante</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8884; padding: .5rem; text-align: left; vertical-align: top }
tr:target { background: #fc08 }
code { font-size: .9em }
</style>
</head>
<body>
<h1>Errors</h1>
<p>Every error is an <code>application/problem+json</code> document (RFC 9457) with a stable <code>code</code>, a sentence in
<code>title</code>, the next action in <code>action</code>, fields at fault in <code>errors</code>, and a
<code>traceId</code> to quote. Codes are never renamed. <a href="/docs">Back to the API</a></p>
<table>
<thead><tr><th>code</th><th>status</th><th>what happened</th><th>what to do</th><th>may succeed later unchanged</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>
</body>
</html>
`
}

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
