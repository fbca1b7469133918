// The page: which view is shown, and how it is kept up to date. Everything is asked of the gateway by GET.

import { make } from './dom.js';
import { views } from './views.js';

const INTERVAL = 3000;
/** Where the token is kept: as long as this tab is open, and for this gateway alone. */
const TOKEN = 'token';
const content = document.getElementById('content');
const freshness = document.getElementById('freshness');
let shown = null;
let timer = null;

/** `#/machines?group=prod` as the view's name and its parameters. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  return { name: path || 'overview', parameters: new URLSearchParams(query ?? '') };
}

/** The other way round. */
function address(name, parameters) {
  const query = parameters.toString();
  return `#/${name}${query ? `?${query}` : ''}`;
}

/** The gateway wants another token. */
class Unauthorized extends Error {}

async function ask(path) {
  const headers = { accept: 'application/json', authorization: `Bearer ${sessionStorage.getItem(TOKEN) ?? ''}` };
  const answer = await fetch(path, { headers, cache: 'no-store' });
  if (answer.status === 401) throw new Unauthorized();
  if (!answer.ok) throw new Error(`the gateway answers ${answer.status}`);
  return answer.json();
}

/** Draws another view, and goes to its head. */
function show() {
  const { name, parameters } = place();
  const view = views[name] ?? views.overview;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === (view.under ?? name)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const isSame = shown?.view === view && view.keeps;
  if (!isSame) {
    const result = make('div', { id: 'result' }, make('p', { class: 'note' }, 'Loading …'));
    content.replaceChildren(make('h1', {}, view.title(parameters)), ...(view.frame?.(parameters, go) ?? []), result);
    document.title = `${view.title(parameters)} · Wharfinger`;
    if (shown) {
      content.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }
  follow(parameters);
  shown = { view, parameters, memory: isSame ? shown.memory : {} };
  refresh();
}

/** Fields show what the address says, but for the one that is being written in. */
function follow(parameters) {
  for (const field of content.querySelectorAll('form [name]')) {
    if (field !== document.activeElement) field.value = parameters.get(field.name) ?? '';
  }
}

/** Changes parameters of the view that is shown; an empty one is left out. */
function go(changes) {
  const { name, parameters } = place();
  for (const [key, value] of Object.entries(changes)) {
    if (value) parameters.set(key, value);
    else parameters.delete(key);
  }
  location.hash = address(name, parameters);
}

async function refresh() {
  clearTimeout(timer);
  const mine = shown;
  try {
    const data = await mine.view.load(ask, mine.parameters);
    if (mine !== shown) return;
    redraw(mine.view.draw(data, mine.parameters, mine.memory, go));
    freshness.textContent = `Live, version ${data.version ?? ''}`.replace(/, version $/, '');
    freshness.className = '';
  } catch (error) {
    if (mine !== shown) return;
    if (error instanceof Unauthorized) return askForToken();
    freshness.textContent = `No answer: ${error.message}. What is shown is old.`;
    freshness.className = 'stale';
  }
  if (!document.hidden) timer = setTimeout(refresh, INTERVAL);
}

/** Whoever may read the data directory may see the page. */
function askForToken() {
  const wrong = sessionStorage.getItem(TOKEN) !== null;
  const field = make('input', { type: 'password', name: 'token', autocomplete: 'off', size: 40, required: true,
    'aria-describedby': 'where' });
  const form = make('form', {}, make('label', {}, 'Token', field), make('button', {}, 'Show the page'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, field.value.trim());
    shown = null;
    show();
  });
  content.replaceChildren(make('h1', {}, 'Who are you?'),
    make('p', { id: 'where' }, 'The gateway shows this page to whoever has its token. It is in the file ',
      make('code', {}, 'page-token'), ' of its data directory.'),
    wrong ? make('p', { class: 'alarm', role: 'alert' }, 'This is not the token.') : '', form);
  freshness.textContent = '';
  field.focus();
}

/** A link may bring the token along, behind the `#` that no server sees; it does not stay in the address. */
function takeToken() {
  const { name, parameters } = place();
  if (!parameters.has(TOKEN)) return;
  sessionStorage.setItem(TOKEN, parameters.get(TOKEN));
  parameters.delete(TOKEN);
  history.replaceState(null, '', address(name, parameters));
}

/** Puts the new result in place of the old one: the focus stays where it was, what was open stays open. */
function redraw(nodes) {
  const result = document.getElementById('result');
  const focused = result.contains(document.activeElement) ? mark(document.activeElement) : null;
  const open = new Set([...result.querySelectorAll('details[open]')].map((details) => details.id));
  result.replaceChildren(...nodes);
  for (const details of result.querySelectorAll('details')) details.open = open.has(details.id);
  if (focused) [...result.querySelectorAll('a, button, summary')].find((one) => mark(one) === focused)?.focus({ preventScroll: true });
}

function mark(element) {
  return element.getAttribute('href') ?? element.parentElement.id + element.textContent;
}

addEventListener('hashchange', show);
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
takeToken();
show();
