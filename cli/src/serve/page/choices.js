// What a reader may choose for a run: the options of `lab run`, as a form.

import { el } from './dom.js';

/** The folded form, and `read()`: the body of POST /api/run. */
export function choices(offer) {
  const profile = select([['', 'as the lab has it'],
    ...offer.profiles.map((name) => [name, name])]);
  const take = select([['', 'the first'],
    ...offer.takes.map(({ name, profile: of }) => [name, `${name} (${of})`])]);
  const values = text({ placeholder: offer.values });
  const rule = ruleField(offer);
  const seed = el('input', { type: 'number', min: 0, step: 1 });
  const reference = el('input', { type: 'checkbox' });
  const syscalls = el('input', { type: 'checkbox' });

  const node = el('details', {}, el('summary', {}, 'Choose what runs'),
    el('div', { class: 'live-fields' },
      field('profile of the kernels', profile),
      offer.takes.length > 1 ? field('take', take) : null,
      offer.values ? field('values for the program', values) : null,
      field('rule for the wire', rule.node),
      field('seed', seed),
      tick(reference, 'the reference program, whatever is in your file'),
      tick(syscalls, 'show system calls')),
    grammar(offer));

  const read = () => ({
    lab: offer.lab.id,
    subject: reference.checked ? 'solution' : null,
    profile: profile.value || null,
    take: take.value || null,
    seed: seed.value === '' ? null : Number(seed.value),
    rules: rule.value().split(';').map((one) => one.trim()).filter(Boolean),
    values: values.value.split(/\s+/).filter(Boolean),
    syscalls: syscalls.checked,
  });
  return { node, read };
}

let lists = 0;

/** A field for a rule, with the page's own rules to choose from. */
export function ruleField({ rules }) {
  const id = `live-rules-${lists += 1}`;
  const input = text({ list: id, placeholder: rules[0] ?? 'drop syn' });
  const options = rules.map((rule) => el('option', { value: rule }));
  const node = [input, el('datalist', { id }, options)];
  return { node, input, value: () => input.value };
}

/** How a rule is written. */
export function grammar({ kinds, hosts }) {
  const kind = ({ word, meaning }) => el('div', {},
    el('dt', {}, el('code', {}, word)), el('dd', {}, meaning));
  const row = (name, what) => el('div', {}, el('dt', {}, el('code', {}, name)), el('dd', {}, what));
  return el('details', { class: 'live-grammar' },
    el('summary', {}, 'How a rule is written'),
    el('p', {}, el('code', {}, 'ACTION [WHICH] KIND [from HOST] [port N]'),
      '. Between several rules stands a semicolon.'),
    el('dl', {},
      row('ACTION', 'drop, duplicate, delay TIME, hold, reorder, corrupt, rate BITS'),
      row('WHICH', '#3, #2-4, #5- or every; without it the first that matches'),
      row('HOST', hosts.join(', '))),
    el('p', {}, 'KIND is one of'),
    el('dl', {}, kinds.map(kind)));
}

/** A label around its control. */
export function field(name, control) {
  return el('label', {}, el('span', {}, name), control);
}

function tick(box, name) {
  return el('label', { class: 'live-tick' }, box, el('span', {}, name));
}

function text(attributes) {
  return el('input', {
    type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', ...attributes,
  });
}

function select(options) {
  return el('select', {}, options.map(([value, name]) => el('option', { value }, name)));
}
