// Predictions are remembered in this browser, and nowhere else.

import { button, el } from './dom.js';

const PREFIX = 'lab-predicted ';
const ALL = '/predictions.html';

/** Brings back what was predicted on this page, and keeps what is from now on. */
export function remember() {
  const forms = [...document.querySelectorAll('form.predict')];
  forms.forEach((form, index) => keep(form, `${PREFIX}${location.pathname} ${index}`));
  if (location.pathname === ALL) offerToForget(forms);
}

function keep(form, key) {
  const options = [...form.querySelectorAll('input[type=radio]')];
  const kept = options[stored(key)];
  if (kept) kept.checked = true;
  form.addEventListener('change', () => {
    const chosen = options.findIndex((option) => option.checked);
    attempt(() => localStorage.setItem(key, chosen));
  });
  form.addEventListener('reset', () => attempt(() => localStorage.removeItem(key)));
}

function stored(key) {
  return attempt(() => localStorage.getItem(key));
}

/** A browser may have no storage for us: then nothing is remembered. */
function attempt(what) {
  try {
    return what();
  } catch {
    return null;
  }
}

function offerToForget(forms) {
  const said = el('span', { role: 'status' });
  const forget = button('Forget my predictions', () => {
    const keys = attempt(() => Object.keys(localStorage)) ?? [];
    const mine = keys.filter((key) => key.startsWith(PREFIX));
    for (const key of mine) localStorage.removeItem(key);
    for (const form of forms) form.reset();
    said.textContent = `${mine.length} predictions are forgotten, on every page.`;
  });
  document.querySelector('main h1')
    .after(el('p', { class: 'live-row live' }, forget, said));
}
