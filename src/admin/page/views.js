// The views: each asks, and draws what was answered.

import { badge, card, count, counted, duration, instant, make, prose, rate, size, table, time } from './dom.js';

const STATES = [
  ['violating', 'violate the policy'],
  ['silent', 'are silent'],
  ['unknown', 'are not known well enough'],
  ['compliant', 'are as they should be'],
];

const machineLink = (key, name) => make('a', { href: `#/machine?key=${encodeURIComponent(key)}` }, name);

/** How fast the counts of `/api/status` grow, by name; null until there are two of them. */
function rates(rows, read, memory, name) {
  const now = performance.now();
  const known = memory[name] ?? new Map();
  const found = new Map();
  const next = new Map();
  for (const row of rows) {
    const before = known.get(row.name);
    found.set(row.name, before ? Math.max(0, (read(row) - before.value) / ((now - before.at) / 1000)) : null);
    next.set(row.name, { at: now, value: read(row) });
  }
  memory[name] = next;
  return found;
}

function sum(numbers) {
  return [...numbers].reduce((all, one) => (all === null || one === null ? null : all + one), 0);
}

const gateway = (name) => name === 'wharfinger';

const overview = {
  title: () => 'Overview',
  load: async (ask) => {
    const [status, compliance, findings] =
      await Promise.all([ask('/api/status'), ask('/api/compliance?per_page=1'), ask('/api/findings?per_page=5')]);
    return { version: status.version, status, compliance, findings };
  },
  draw: ({ status, compliance, findings }, parameters, memory) => {
    const taken = sum(rates(status.sources.filter((row) => !gateway(row.name)), (row) => row.taken, memory, 'in').values());
    const given = sum(rates(status.sinks, (row) => row.delivered, memory, 'out').values());
    const queued = Math.max(0, ...status.sinks.map((row) => row.queued));
    const lost = status.sources.reduce((all, row) => all + row.lost, 0) + status.sinks.reduce((all, row) => all + row.lost, 0);
    return [
      ...alarms(status),
      make('h2', {}, 'Machines'),
      make('ul', { class: 'cards' },
        STATES.map(([state, label]) => make('li', {}, make('a', { class: 'card', href: `#/machines?state=${state}` },
          badge(state), make('span', { class: 'number' }, count(compliance.counts[state])),
          make('span', { class: 'label' }, label)))),
        card(count(compliance.counts.docker), 'run Docker, as far as events show', '#/machines?docker=yes')),
      make('h2', {}, 'Events'),
      make('ul', { class: 'cards' },
        card(rate(taken), 'taken in, each second'),
        card(rate(given), 'delivered to all sinks, each second'),
        card(count(queued), 'wait for the slowest sink', '#/pipeline'),
        card(count(lost), 'lost and declared by gap records', '#/pipeline')),
      make('h2', {}, 'Open findings'),
      ...(findings.matching === 0 ? [make('p', { class: 'note' }, 'There is none.')] : findings.findings.map(finding)),
      findings.matching > 5 ? make('p', {}, make('a', { href: '#/findings' }, `All ${count(findings.matching)} open findings`)) : '',
    ];
  },
};

function alarms(status) {
  const alarm = (text) => make('p', { class: 'alarm', role: 'alert' }, text);
  const all = [];
  if (!status.journal.healthy) all.push(alarm('The journal cannot store: nothing is acknowledged, because the disk fails.'));
  if (status.journal.stalled) all.push(alarm('The disk is full: senders wait.'));
  for (const sink of status.sinks.filter((row) => row.state !== 'working')) {
    all.push(alarm(`Sink ${sink.name} is ${sink.state}${sink.error ? `: ${sink.error}` : ''}`));
  }
  for (const digest of (status.digests ?? []).filter((row) => row.state === 'fails')) {
    all.push(alarm(`Digest ${digest.name} cannot be made${digest.error ? `: ${digest.error}` : ''}`));
  }
  return all;
}

function select(name, label, value, options, go) {
  const choices = options.map(([option, text]) => make('option', { value: option, selected: option === value }, text));
  const element = make('select', { name }, choices);
  element.addEventListener('change', () => go({ [name]: element.value, page: '' }));
  return make('label', {}, label, element);
}

const machines = {
  keeps: true,
  title: () => 'Machines',
  frame: (parameters, go) => {
    const search = make('input', { type: 'search', name: 'q', value: parameters.get('q') ?? '', size: 24 });
    search.addEventListener('input', () => go({ q: search.value, page: '' }));
    const form = make('form', { role: 'search' },
      make('label', {}, 'Name, address or UUID', search),
      select('state', 'State', parameters.get('state') ?? '',
        [['', 'all'], ...STATES.map(([state]) => [state, state])], go),
      select('docker', 'Docker', parameters.get('docker') ?? '', [['', 'all'], ['yes', 'yes'], ['no', 'no']], go),
      make('label', {}, 'Group', make('select', { name: 'group', id: 'group' }, make('option', { value: '' }, 'all'))));
    const group = form.querySelector('#group');
    group.addEventListener('change', () => go({ group: group.value, page: '' }));
    form.addEventListener('submit', (event) => event.preventDefault());
    return [form];
  },
  load: (ask, parameters) => ask(`/api/compliance?${new URLSearchParams([['per_page', '50'], ...parameters])}`),
  draw: (data, parameters, memory, go) => {
    groups(data, parameters.get('group') ?? '');
    const row = (one) => [
      machineLink(one.key, one.name), one.group, badge(one.state), one.docker ? count(one.containers) : '',
      one.docker ? count(one.unique_containers) : '', one.docker ? count(one.images) : '',
      one.untrusted_registries.join(', '), one.findings ? count(one.findings) : '', time(one.last_seen),
    ];
    const columns = [['Machine'], ['Group'], ['State'], ['Containers now', true], ['in 24 h', true], ['Images', true],
      ['Untrusted registries'], ['Findings', true], ['Last seen']];
    return [
      table(`${count(data.matching)} of ${count(data.total)} machines`, columns, data.machines.map(row)),
      pages(data, go),
    ];
  },
};

/** The groups are known only from the answer. */
function groups(data, chosen) {
  const group = document.getElementById('group');
  const names = ['', ...data.groups];
  if (group && group.options.length !== names.length) {
    group.replaceChildren(...names.map((name) => make('option', { value: name }, name || 'all')));
  }
  if (group) group.value = chosen;
}

function pages(data, go) {
  if (data.pages <= 1) return '';
  const button = (text, page) => {
    const element = make('button', { type: 'button', disabled: page < 1 || page > data.pages }, text);
    element.addEventListener('click', () => go({ page: String(page) }));
    return element;
  };
  return make('nav', { class: 'pages', id: 'pages', 'aria-label': 'Pages' }, button('Previous', data.page - 1),
    make('span', {}, `Page ${count(data.page)} of ${count(data.pages)}`), button('Next', data.page + 1));
}

const machine = {
  under: 'machines',
  title: (parameters) => `Machine ${parameters.get('key') ?? ''}`,
  load: (ask, parameters) => ask(`/api/machine?key=${encodeURIComponent(parameters.get('key') ?? '')}`),
  draw: (data) => {
    const row = data.machine;
    document.querySelector('h1').textContent = row.name;
    document.title = `${row.name} · Wharfinger`;
    const step = (at, ...what) => make('li', {}, instant(at), ...what);
    const states = data.history.map((change) => ({ at: change.at, node: step(change.at, badge(change.state)) }));
    const moments = data.recent.map((one) => ({ at: one.at, node: step(one.at, make('code', {}, one.class), ' ', one.what) }));
    const told = data.findings.map((one) => ({ at: one.first_seen, node: step(one.first_seen, 'Finding: ', one.about) }));
    const all = [...states, ...moments, ...told].sort((one, other) => other.at.localeCompare(one.at));
    return [
      make('p', {}, badge(row.state), ' ', row.known ? '' : make('span', { class: 'note' }, 'No inventory names it.')),
      make('h2', {}, 'What is known'),
      make('dl', {}, data.facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
        make('dt', {}, 'last seen'), make('dd', {}, time(row.last_seen))),
      make('h2', {}, 'Open findings'),
      ...(data.findings.length ? data.findings.map(finding) : [make('p', { class: 'note' }, 'There is none.')]),
      make('h2', {}, 'Docker'),
      row.docker
        ? make('p', {}, `${counted(row.containers, 'container')} now, ${count(row.unique_containers)} in 24 h, as far as events show.`)
        : make('p', { class: 'note' }, 'Nothing was heard of containers here.'),
      data.images.length ? make('ul', {}, data.images.map((image) => make('li', {}, make('code', {}, image)))) : '',
      make('h2', {}, 'Timeline'),
      all.length ? make('ol', { class: 'timeline' }, all.map((one) => one.node)) : make('p', { class: 'note' }, 'Nothing yet.'),
    ];
  },
};

function finding(one) {
  const fact = ([name, value]) => [make('dt', {}, name), make('dd', {}, value)];
  return make('article', { class: `finding ${one.severity >= 8 ? 'high' : ''}` },
    make('h3', {}, one.about, make('span', { class: 'badge' }, `severity ${one.severity}`), machineLink(one.machine, one.name)),
    make('p', {}, prose(one.why)),
    one.recommendation ? make('p', { class: 'note' }, prose(one.recommendation)) : '',
    make('details', { id: `cause-${one.id}` }, make('summary', { id: `of-${one.id}` }, 'Cause and history'),
      make('dl', {}, ...[['rule', one.rule], ['happened', counted(one.count, 'time')], ['first seen', instant(one.first_seen)],
        ['last seen', instant(one.last_seen)], ['finding', one.id],
        ...(one.cause ? [['cause', make('code', {}, one.cause)]] : []), ...one.facts].map(fact))));
}

const findings = {
  title: () => 'Findings',
  load: (ask, parameters) => ask(`/api/findings?${new URLSearchParams([['per_page', '50'], ...parameters])}`),
  draw: (data, parameters, memory, go) => [
    make('p', { class: 'note' }, data.matching ? `${count(data.matching)} are open, the gravest first.` : 'There is none.'),
    ...data.findings.map(finding),
    pages(data, go),
  ],
};

const pipeline = {
  title: () => 'Sources and sinks',
  load: (ask) => ask('/api/status'),
  draw: (status, parameters, memory) => {
    const taken = rates(status.sources, (row) => row.taken, memory, 'in');
    const given = rates(status.sinks, (row) => row.delivered, memory, 'out');
    const { journal } = status;
    const archives = status.sinks.filter((row) => row.type === 'archive');
    return [
      ...alarms(status),
      make('h2', {}, 'Sources'),
      table('What came in, in events', [['Source'], ['Type'], ['Each second', true], ['Received', true], ['Taken in', true], ['Lost, declared', true]],
        status.sources.map((row) => [row.name, row.type, rate(taken.get(row.name)), count(row.received), count(row.taken), count(row.lost)])),
      make('h2', {}, 'Sinks'),
      table('What became of it, in events',
        [['Sink'], ['Type'], ['State'], ['Each second', true], ['Delivered', true], ['Filtered', true], ['Quarantined', true],
          ['Lost, declared', true], ['Queued', true], ['Lag', true]],
        status.sinks.map((row) => [row.name, row.type, badge(row.state), rate(given.get(row.name)), count(row.delivered),
          count(row.filtered), count(row.quarantined), count(row.lost), count(row.queued), size(row.queued_bytes)])),
      make('h2', {}, 'Journal'),
      make('p', {}, `${size(journal.bytes_used)} of ${size(journal.bytes_ordinary)} used, ${count(journal.events)} events since it began`,
        journal.seconds_left === null ? '' : `; room for ${duration(journal.seconds_left)} at the present rate, if nothing leaves it`, '.'),
      make('meter', { min: 0, max: journal.bytes_ordinary, value: journal.bytes_used, high: journal.bytes_ordinary * 0.8,
        'aria-label': 'Journal in use' }),
      make('h2', {}, 'Archive'),
      archives.length
        ? make('p', {}, archives.map((row) => `${row.name}: ${count(row.delivered)} events sealed, ${count(row.queued)} wait for a seal. `),
          'An auditor checks it with ', make('code', {}, 'wharfinger verify'), '.')
        : make('p', { class: 'note' }, 'There is no sink of type archive.'),
    ];
  },
};

export const views = { overview, machines, machine, findings, pipeline };
