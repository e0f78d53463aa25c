// The panel on a lab's page: run it and grade it, here.

import { ABSENT, isStop, lab, send } from './api.js';
import { checking } from './check.js';
import { choices } from './choices.js';
import { button, el, prose, trouble } from './dom.js';
import { running } from './run.js';
import { listen } from './saves.js';

/** Puts the panel below the first prediction: who predicts runs it then. */
export async function panel() {
  const said = el('div', { role: 'alert' });
  const title = el('h2', { id: 'live' }, 'Run it on your machine');
  const section = el('section', { class: 'live', 'aria-labelledby': 'live' }, title, said);
  const before = document.querySelector('main form.predict')
    ?? document.querySelector('main section.card');
  before.after(section);
  try {
    fill(section, said, await (await send(`/api/labs/${lab}`)).json());
  } catch (err) {
    if (!isStop(err)) said.append(trouble(err));
  }
}

function fill(section, said, offer) {
  const whose = el('p');
  const absent = el('div', { role: 'alert' });
  const status = el('p', { role: 'status', class: 'live-status' });
  const work = worker(said, status);
  const run = running(offer, status);
  const check = checking(status);
  const chosen = choices(offer);
  const grade = () => work('Grading …', check.start);

  const start = el('button', { type: 'submit', class: 'main' }, 'Run');
  const stop = button('Stop', work.stop, { hidden: true });
  const form = el('form', {}, el('div', { class: 'live-row' },
    start, button('Check', grade), stop), status, chosen.node);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    work('Starting …', (signal) => run.start(chosen.read(), signal));
  });
  work.watch((busy) => {
    if (!busy && document.activeElement === stop) start.focus();
    stop.hidden = !busy;
    section.setAttribute('aria-busy', busy);
  });

  section.replaceChildren(section.firstChild, whose, form, absent, said,
    check.node, run.node);
  tellWhose(whose, offer);
  listen(({ event, data }) => {
    if (ABSENT[event]) absent.replaceChildren(trouble(ABSENT[event]));
    if (event === 'back') absent.replaceChildren();
    const now = event === 'progress' && data.labs.find(({ id }) => id === lab);
    if (now) tellWhose(whose, { ...offer, lab: now });
    if (event === 'saved' && data.lab === lab) grade();
  });
}

/** One order at a time: the next one stops the one before it. */
function worker(said, status) {
  let now = null;
  let hear = () => {};

  async function work(words, order) {
    now?.abort();
    const mine = new AbortController();
    now = mine;
    said.replaceChildren();
    status.textContent = words;
    hear(true);
    try {
      await order(mine.signal);
    } catch (err) {
      if (now === mine) tell(err);
    }
    if (now !== mine) return;
    now = null;
    hear(false);
  }

  function tell(err) {
    status.textContent = isStop(err) ? 'Stopped.' : '';
    if (!isStop(err)) said.replaceChildren(trouble(err));
  }

  work.stop = () => now?.abort();
  work.watch = (listener) => { hear = listener; };
  return work;
}

/** Whose program a run is, before there is one. */
function tellWhose(node, { source, lab: { state } }) {
  const whose = {
    not_started: '`Run` shows the reference program, since your file is still the stub.',
    in_progress: '`Run` runs your program.',
    passed: '`Run` runs your program. It has passed.',
  };
  node.replaceChildren(...prose(`${whose[state] ?? ''} Edit \`${source}\` in your editor: `
    + 'each save is graded here.'));
}
