// The board on the book's first page: every lab, and how far the reader is.

import { ABSENT, isStop, send } from './api.js';
import { button, el, trouble } from './dom.js';
import { listen } from './saves.js';

const STATES = { not_started: '· not started', in_progress: '▸ begun', passed: '✓ passed' };

/** Puts the board below the page's title, and keeps it right. */
export async function board() {
  const said = el('div', { role: 'status' });
  const sum = el('p');
  const rows = new Map();
  const body = el('tbody');
  const table = el('details', { class: 'live-board' }, el('summary', {}, 'The board'),
    el('table', {}, el('thead', {}, el('tr', {},
      ['lab', 'state', 'file'].map((name) => el('th', { scope: 'col' }, name)))), body));
  const section = el('section', { class: 'live', 'aria-label': 'Your labs' }, sum, table, said);
  document.querySelector('main h1').after(section);

  function show({ labs, next = labs.find(({ state }) => state !== 'passed')?.id }) {
    for (const lab of labs) {
      if (!rows.has(lab.id)) rows.set(lab.id, row(lab, body, () => confirmReset(lab, section, tell)));
      rows.get(lab.id)(lab.state, lab.id === next);
    }
    sum.replaceChildren(...summary(labs, labs.find(({ id }) => id === next)));
  }
  const tell = (...what) => said.replaceChildren(...what);
  const refresh = async () => {
    try {
      const answer = await (await send('/api/labs')).json();
      show(answer);
      tell();
      return answer.labs;
    } catch (err) {
      if (!isStop(err)) tell(trouble(err));
      return [];
    }
  };

  const labs = await refresh();
  table.open = labs.some(({ state }) => state !== 'not_started');
  listen(({ event, data }) => {
    if (event === 'progress') show(data);
    if (event === 'back') refresh();
    if (ABSENT[event]) tell(trouble(ABSENT[event]));
  });
}

function summary(labs, next) {
  const passed = labs.filter(({ state }) => state === 'passed').length;
  const count = `${passed} of ${labs.length} labs passed. `;
  return next ? [count, 'Next: ', el('a', { href: next.page }, next.title), '.'] : [count];
}

/** A row, which stays the same element: the focus may be in it. */
function row({ id, title, minutes, page }, body, onReset) {
  const state = el('td');
  const link = el('a', { href: page }, title);
  const reset = button('Reset', onReset, { 'aria-label': `Reset ${id}` });
  const line = el('tr', {},
    el('th', { scope: 'row' }, link, el('span', { class: 'live-small' }, `${id}, ${minutes} minutes`)),
    state, el('td', {}, reset));
  body.append(line);
  return (now, isNext) => {
    state.textContent = `${STATES[now] ?? now}${isNext ? ', next' : ''}`;
    line.className = isNext ? 'live-next' : '';
    if (now === 'not_started' && document.activeElement === reset) link.focus();
    reset.hidden = now === 'not_started';
  };
}

/** Asks first: the file leaves its place, though it is kept. */
function confirmReset({ id }, section, tell) {
  const dialog = el('dialog', { class: 'live-dialog', 'aria-labelledby': 'live-ask' },
    el('h2', { id: 'live-ask' }, `Begin ${id} anew?`),
    el('p', {}, 'The stub comes back. Your file is kept beside it, under another name. '
      + 'What has passed stays passed.'),
    el('div', { class: 'live-row' },
      button('Leave it', () => dialog.close()),
      button('Reset', () => dialog.close('reset'))));
  dialog.addEventListener('close', async () => {
    dialog.remove();
    if (dialog.returnValue === 'reset') await reset(id, tell);
  });
  section.append(dialog);
  dialog.showModal();
}

async function reset(id, tell) {
  try {
    const { kept } = await (await send('/api/reset', { lab: id })).json();
    tell(el('p', {}, kept ? `${id} begins anew. Your file is kept as ` : `${id} is the stub already.`,
      kept ? el('code', {}, kept) : null));
  } catch (err) {
    if (!isStop(err)) tell(trouble(err));
  }
}
