// Hands on the wire while a run goes on.

import { isStop, send } from './api.js';
import { field, grammar, ruleField } from './choices.js';
import { button, el, trouble } from './dom.js';

const BUTTONS = [
  ['Cut', 'cut', 'The cable is out: nothing passes.'],
  ['Plug', 'plug', 'The cable is in again.'],
  ['Release', 'release', 'Frames that were held go on.'],
];

/** The console: `open(run)` when there is a wire, `close()` when it is gone. */
export function wireConsole(offer) {
  let run = null;
  const said = el('p', { role: 'status' });
  const rule = ruleField(offer);

  async function order(words, done) {
    try {
      await send(`/api/run/${run}/wire`, { order: words });
      said.textContent = done;
    } catch (err) {
      if (!isStop(err)) said.replaceChildren(trouble(err));
    }
  }

  const arm = () => rule.value() && order(rule.value(), `Told the wire: ${rule.value()}`);
  // Enter in the field means the rule, not another run.
  rule.input.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    arm();
  });
  const set = el('fieldset', { class: 'live-wire', disabled: true }, 
    el('legend', {}, 'The wire, while a run goes on'),
    el('div', { class: 'live-row' },
      BUTTONS.map(([name, words, done]) => button(name, () => order(words, done)))),
    el('div', { class: 'live-row' }, field('rule', rule.node), button('Tell the wire', arm)));
  const node = el('div', {}, set, said, grammar(offer));

  return {
    node,
    open(number) {
      run = number;
      set.disabled = false;
      said.textContent = '';
    },
    close() {
      const held = set.contains(document.activeElement);
      set.disabled = true;
      // A disabled control cannot keep the focus.
      if (held) node.closest('section').querySelector('button').focus();
    },
  };
}
