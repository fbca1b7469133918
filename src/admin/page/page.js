// The page: which view is shown, and how it is kept up to date. Everything is asked of the gateway by GET.

import { make } from './dom.js';
import { views } from './views.js';

const INTERVAL = 3000;
const content = document.getElementById('content');
const freshness = document.getElementById('freshness');
let shown = null;
let timer = null;

/** `#/machines?group=prod` as the view's name and its parameters. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  return { name: path || 'overview', parameters: new URLSearchParams(query ?? '') };
}

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: 'application/json' }, cache: 'no-store' });
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
  const query = parameters.toString();
  location.hash = `#/${name}${query ? `?${query}` : ''}`;
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
    freshness.textContent = `No answer: ${error.message}. What is shown is old.`;
    freshness.className = 'stale';
  }
  if (!document.hidden) timer = setTimeout(refresh, INTERVAL);
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
show();
