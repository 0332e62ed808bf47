// The demo's pages: text in, HTML out. What comes from outside is escaped by `html`.
const escapes = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'};
class Markup {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
}
const escape = (value) => Array.isArray(value) ? value.map(escape).join('') : value instanceof Markup ? value.text :
  String(value ?? '').replace(/[&<>"']/g, (letter) => escapes[letter]);
const html = (parts, ...values) => new Markup(parts.reduce((text, part, i) => text + escape(values[i - 1]) + part));

const page = (title, body) => html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title><link rel="stylesheet" href="/style.css"></head>
<body><h1>${title}</h1>${body}</body></html>`.text;

export const style = `body{font:16px/1.5 sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}
td,th{text-align:left;padding:.2rem .8rem .2rem 0}form{display:inline-block;margin:.2rem .5rem .2rem 0}`;

export const loginPage = (wrong) => page('Sign in', html`
${wrong ? html`<p id="wrong">Name or password is wrong.</p>` : ''}
<form id="login" method="post" action="/login">
<label>Name <input name="name" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>
<p>Users of the demo: ada and bob, password "portcullis".</p>`);

const button = (id, action, text, value) => html`<form id="${id}" method="post" action="${action}">
${value === undefined ? '' : html`<input type="hidden" name="handle" value="${value}">`}<button>${text}</button></form>`;

const time = (atMs) => new Date(atMs).toISOString().slice(0, 19).replace('T', ' ');

export const accountPage = (session, sessions) => page(`Hello ${session.userId}`, html`
<p>Visits of this page in this session: <b id="visits">${session.data?.visits ?? 0}</b></p>
<p><a href="/quote">A quote from the downstream</a></p>
<table id="sessions"><tr><th>Session</th><th>Signed in (UTC)</th><th>From</th><th>With</th><th></th></tr>
${sessions.map((each) => html`<tr><td>${each.handle}${each.current ? html` <b>(this one)</b>` : ''}</td><td>${time(each.createdAtMs)}</td>
<td>${each.ip}</td><td>${each.userAgent}</td>
<td>${each.current ? '' : button(`end-${each.handle}`, '/sessions/end', 'End it', each.handle)}</td></tr>`)}
</table>
${button('logout', '/logout', 'Log out')}
${button('others', '/logout-others', 'Log out everywhere else')}
${button('everywhere', '/logout-everywhere', 'Log out everywhere')}`);

export const quotePage = (quote) => page('A quote', html`<blockquote id="quote">${quote}</blockquote><p><a href="/account">Back</a></p>`);

const said = {
  400: ['Not understood', 'This request is not one that these pages make.'],
  401: ['Please sign in', 'Your session is over.'],
  403: ['Not here', 'This request is not accepted.'],
  409: ['Changed meanwhile', 'Another window was quicker. Go back and try again.'],
  413: ['Too much', 'The form is larger than anything that is asked for here.'],
  415: ['Not understood', 'The form is written in a way that is not known here.'],
  429: ['Too many attempts', 'Wait a while, then try again.'],
  500: ['Something is wrong', 'It is our fault, and it is in our log.'],
  502: ['No quote today', 'The downstream does not answer.'],
  503: ['In a moment', 'We cannot check your session right now. You are still signed in; try again.'],
};

export function failurePage(status, correlationId) {
  const [title, text] = said[status] ?? said[status < 500 ? 400 : 500];
  return page(title, html`<p id="failure">${text}</p><p>${status}${correlationId ? html`, ${correlationId}` : ''}</p>`);
}
