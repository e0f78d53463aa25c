// A run as it happens: its lines, its figure, and at last what the page says
// otherwise.

import { brokeOff, messages, Trouble, send } from './api.js';
import { el, prose } from './dom.js';
import { wireConsole } from './wire.js';

const MOST_LINES = 500;
const MARKS = { frame: '⇄', state: '◆', output: '✎', step: '▸', call: 'ƒ' };
const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Where a run is shown, and `start(body, signal)`. */
export function running(offer, status) {
  const log = logBox();
  const wire = offer.wire ? wireConsole(offer) : null;
  const figure = figureBox();
  const after = el('div');
  const node = el('div', { hidden: true }, wire?.node, log.node, figure.node, after);

  const hear = {
    start(run) {
      node.hidden = false;
      status.textContent = `Running ${whose(run.program)}.`;
      figure.stamp(run);
      wire?.open(run.run);
    },
    line: log.add,
    // A figure that grows moves what is below it.
    figure: ({ html }) => calm.matches || figure.draw(html),
    end(result) {
      figure.draw(result.html, result.table);
      after.replaceChildren(...outcome(result));
      status.textContent = result.ok ? '✓ The run is over.' : '✗ The run did not go to its end.';
    },
    error({ what, cause, cure }) {
      throw new Trouble(what, cause, cure);
    },
  };

  async function start(body, signal) {
    log.clear();
    figure.draw('');
    after.replaceChildren();
    let over = false;
    try {
      for await (const { event, data } of messages(await send('/api/run', body, signal), signal)) {
        hear[event]?.(data);
        over ||= event === 'end';
      }
    } finally {
      wire?.close();
    }
    if (!over) throw brokeOff();
  }
  return { node, start };
}

function whose(program) {
  return program.startsWith('solutions/') ? `the reference program, ${program}` : program;
}

/** The lines as they come; who has scrolled up is left there. */
function logBox() {
  const node = el('div', {
    class: 'live-log', role: 'log', 'aria-label': 'What happens', tabindex: 0,
  });
  function add({ t_ms: time, host, kind, text }) {
    const atEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 30;
    node.append(el('div', { class: `live-${kind in MARKS ? kind : 'other'}` },
      el('span', { class: 'live-time' }, `${time < 100 ? time.toFixed(2) : Math.round(time)} ms`),
      el('span', { class: 'live-host' }, host),
      el('span', { class: 'live-text' }, `${MARKS[kind] ?? ''} ${text}`)));
    if (node.childElementCount > MOST_LINES) node.firstChild.remove();
    if (atEnd) node.scrollTop = node.scrollHeight;
  }
  return { node, add, clear: () => node.replaceChildren() };
}

/** The figure of the run, drawn again as it grows. */
function figureBox() {
  const drawn = el('div');
  const stamp = el('p');
  const table = el('div', {
    class: 'table-wrapper', role: 'group', tabindex: '0', 'aria-label': 'The same as a table',
  });
  const same = el('details', {}, el('summary', {}, 'The same as a table'), table);
  const node = el('figure', { class: 'lab live-figure', hidden: true },
    drawn, el('figcaption', {}, stamp, same));

  // The server drew it from a trace: the only markup that is taken as such.
  function draw(html, rows = '') {
    drawn.innerHTML = html;
    table.innerHTML = rows;
    node.hidden = !html;
    same.hidden = !rows;
  }
  return {
    node,
    draw,
    stamp: ({ program, kernel, profile, seed }) => {
      stamp.textContent = `Your run of ${program}: kernel ${kernel}, profile ${profile}, seed ${seed}.`;
    },
  };
}

/** How it ended, and where it differs from what the page says. */
function outcome({ exits, missed, differs, void: losses = [] }) {
  const ends = exits.map(({ program, how }) => `${program}: ${how}`).join('; ');
  return [
    missed ? el('p', {}, '✗ It stopped early: ', prose(missed)) : null,
    losses.length > 0 ? el('p', {}, '✗ The network lost frames by itself. This run says '
      + `nothing, run it once more: ${losses.join('; ')}`) : null,
    ends ? el('p', {}, `The programs ended so: ${ends}.`) : null,
    differs.length > 0 ? el('p', {}, 'The recorded run on this page went otherwise:') : null,
    differs.length > 0 ? el('ul', { class: 'live-differs' }, differs.map(difference)) : null,
  ].filter(Boolean);
}

/** Both sides begin with what is compared: `segments to close: 3`. */
function difference({ said, now, why }) {
  const [what] = /^[^:]*: /.exec(said) ?? [''];
  const both = now.startsWith(what);
  const value = (text) => el('strong', {}, (both ? text.slice(what.length) : text) || 'none');
  return el('li', {}, both ? what : null, 'your run: ', value(now), ', recorded: ', value(said),
    why ? `, because: ${why}` : null);
}
