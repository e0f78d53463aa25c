// The grader's verdict.

import { brokeOff, lab, messages, Trouble, send } from './api.js';
import { el, prose } from './dom.js';

const WORDS = {
  pass: '✓ pass',
  fail: '✗ fail',
  not_started: '– not started',
  void: '– void',
  cannot_run: '✗ cannot run',
};
const PHASES = { compiling: 'Compiling …', performing: 'Performing on the hosts …' };

/** Where a verdict is shown, and `start(signal)`. */
export function checking(status) {
  const node = el('div', { class: 'live-verdict', hidden: true });

  async function start(signal) {
    node.hidden = true;
    const answer = await send('/api/check', { lab }, signal);
    for await (const { event, data } of messages(answer, signal)) {
      if (event === 'phase') status.textContent = PHASES[data.phase] ?? data.phase;
      if (event === 'error') throw new Trouble(data.what, data.cause, data.cure);
      if (event === 'verdict') return show(data);
    }
    throw brokeOff();
  }

  function show(verdict) {
    const word = WORDS[verdict.verdict] ?? verdict.verdict;
    status.textContent = `Graded: ${word}.`;
    node.className = `live-verdict live-${verdict.verdict}`;
    node.replaceChildren(...told(verdict, word));
    node.hidden = false;
  }
  return { node, start };
}

function told(verdict, word) {
  const { millis, seed, checks, cause, means, looks_like: looks, doubt, notes = [] } = verdict;
  const took = verdict.verdict === 'not_started' ? '' : ` ${millis} ms, seed ${seed}`;
  return [
    el('p', {}, el('strong', { class: 'live-word' }, word), took),
    verdict.verdict === 'not_started' ? el('p', {}, 'The file is still the stub.') : null,
    checks.length > 0 ? el('ul', { class: 'live-checks' }, checks.map(check)) : null,
    cause ? el('p', {}, 'Cause: ', el('strong', {}, cause)) : null,
    means ? el('p', {}, prose(means)) : null,
    looks ? el('p', {}, `It looks like a known mistake: ${looks}`) : null,
    doubt ? el('p', {}, `Doubt: ${doubt}`) : null,
    notes.map((note) => el('p', {}, `Note: ${note}`)),
    verdict.text ? el('details', {}, el('summary', {}, 'As a terminal shows it'),
      el('pre', { tabindex: 0 }, verdict.text)) : null,
  ].flat().filter(Boolean);
}

function check({ ok, name, evidence }) {
  return el('li', { class: ok ? 'live-ok' : 'live-not' },
    el('strong', {}, ok ? 'ok ' : 'NOT '), name,
    ok || !evidence ? null : el('pre', { tabindex: 0 }, evidence));
}
