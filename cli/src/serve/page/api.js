// What this page and its server say to each other. Each request carries the
// token that the server wrote into the page: another site's page cannot read it.

import { reader } from './sse.js';

const said = JSON.parse(document.querySelector('meta[name=lab]').content);
const headers = {
  'X-Lab-Token': said.token,
  'X-Lab-Page': crypto.randomUUID(),
};

/** The lab that this page is about, or null. */
export const lab = said.lab;

const leaving = new AbortController();
/** Aborted when the reader leaves the page, and with it all that is under way. */
export const left = leaving.signal;
addEventListener('pagehide', () => leaving.abort());
// Back from the browser's memory, the page would be deaf.
addEventListener('pageshow', ({ persisted }) => persisted && location.reload());

/** What went wrong, why perhaps, and what helps. */
export class Trouble extends Error {
  constructor(what, cause, cure, status) {
    super(what);
    Object.assign(this, { what, cause, cure, status });
  }
}

/** What is to be said while the server is not there, or not for this page. */
export const ABSENT = {
  gone: new Trouble('The server does not answer.', 'it has been ended',
    'start it again from the checkout with `cargo lab serve`, and open the '
    + 'address that it prints'),
  old: new Trouble('The server does not know this page.',
    'it was started anew since', 'reload the page', 403),
};

/** Asks the server, with a POST if there is a body; what is refused is thrown. */
export async function send(path, body, signal = left) {
  const post = { method: 'POST', body: JSON.stringify(body) };
  const type = { 'Content-Type': 'application/json' };
  const response = await fetch(path, {
    ...(body && post),
    headers: { ...headers, ...(body && type) },
    cache: 'no-store',
    signal: AbortSignal.any([left, signal]),
  }).catch(gone);
  if (response.ok) return response;
  throw await refusal(response);
}

/** The messages of an event stream, each when it comes. */
export async function* messages(response, signal = left) {
  const body = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const read = reader();
  try {
    for (;;) {
      const { done, value } = await body.read().catch(gone);
      if (done) return;
      for (const { event, data } of read(value)) {
        // What came in one piece with the last words is not heard after a stop.
        signal.throwIfAborted();
        yield { event, data: JSON.parse(data) };
      }
    }
  } finally {
    body.cancel().catch(() => {});
  }
}

/** Whether somebody only stopped it. */
export function isStop(err) {
  return err.name === 'AbortError';
}

/** The stream of an order ended before its last message. */
export function brokeOff() {
  return new Trouble('The server broke off.', 'it was ended, or it has failed: '
    + 'its terminal shows which', 'run it once more');
}

function gone(err) {
  throw isStop(err) ? err : ABSENT.gone;
}

async function refusal(response) {
  if (response.status === 403) return ABSENT.old;
  const { error } = await response.json().catch(() => ({}));
  const what = error ?? `The server answers ${response.status}.`;
  return new Trouble(what, null, null, response.status);
}
