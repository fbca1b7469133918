// Elements and words. Whatever comes from the gateway becomes text, never markup.

/** An element: `make('td', {class: 'n'}, 'text', another)`. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}

/** A table with a caption; columns are `[title, is a number]`, the first cell of a row is its head. */
export function table(caption, columns, rows) {
  const head = columns.map(([title, number]) => make('th', { scope: 'col', class: number ? 'n' : null }, title));
  const body = rows.map((cells) =>
    make('tr', {}, cells.map((cell, at) => at === 0
      ? make('th', { scope: 'row' }, cell)
      : make('td', { class: columns[at][1] ? 'n' : null }, cell === '' ? '–' : cell))));
  return make('div', { class: 'table' },
    make('table', {}, make('caption', {}, caption), make('thead', {}, make('tr', {}, head)), make('tbody', {}, body)));
}

export function badge(word) {
  return make('span', { class: `badge ${word === 'alarm' ? 'alarm-state' : word}` }, word);
}

export function card(number, label, href) {
  const inside = [make('span', { class: 'number' }, number), make('span', { class: 'label' }, label)];
  return make('li', {}, href ? make('a', { class: 'card', href }, inside) : make('div', { class: 'card' }, inside));
}

/** `1234567` as `1,234,567`. */
export function count(number) {
  return Number(number).toLocaleString('en-US');
}

/** `1 container`, `2 containers`. */
export function counted(number, word) {
  return `${count(number)} ${word}${number === 1 ? '' : 's'}`;
}

/** A sentence in which names stand between backticks. */
export function prose(text) {
  return text.split('`').map((piece, at) => (at % 2 ? make('code', {}, piece) : piece));
}

/** A length of time. */
export function duration(seconds) {
  if (seconds < 120) return `${count(Math.round(seconds))} s`;
  if (seconds < 7200) return `${count(Math.round(seconds / 60))} min`;
  if (seconds < 172800) return `${count(Math.round(seconds / 3600))} h`;
  return `${count(Math.round(seconds / 86400))} days`;
}

export function rate(perSecond) {
  if (perSecond === null) return '…';
  return perSecond >= 10 ? count(Math.round(perSecond)) : perSecond.toFixed(1);
}

export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  for (; bytes >= 1024 && at < units.length - 1; at += 1) bytes /= 1024;
  return `${at === 0 ? bytes : bytes.toFixed(1)} ${units[at]}`;
}

/** A time as people say it, with the exact one beside it. */
export function time(text) {
  if (!text) return make('span', { class: 'note' }, 'never');
  return make('time', { datetime: text, title: text }, ago((Date.now() - Date.parse(text)) / 1000));
}

export function instant(text) {
  return make('time', { datetime: text }, text.replace('T', ' ').replace('Z', ' UTC'));
}

function ago(seconds) {
  return seconds < 10 ? 'now' : `${duration(seconds)} ago`;
}
