// What happens outside of the browser: a file was saved, a lab has passed.
//
// A browser keeps six connections to one server, for all of its tabs together.
// So one tab listens and tells the others; when it is closed, the next one does.

import { isStop, left, messages, send } from './api.js';

const AGAIN_MS = 2000;
const NAME = 'lab-saves';

/**
 * Calls `hear({event, data})`: `saved` and `progress` are the server's words,
 * `back` says that somebody listens (again), `gone` that the server does not
 * answer, `old` that it is another server than this page came from.
 */
export function listen(hear) {
  const others = new BroadcastChannel(NAME);
  others.onmessage = ({ data }) => hear(data);
  const tell = (message) => {
    hear(message);
    others.postMessage(message);
  };
  navigator.locks.request(NAME, { signal: left }, () => keepReading(tell, hear))
    .catch((err) => { if (!isStop(err)) throw err; });
}

/** Until the page is left, or the server is one that does not know it. */
async function keepReading(tell, hear) {
  while (!left.aborted) {
    try {
      const response = await send('/api/saves');
      tell({ event: 'back' });
      for await (const message of messages(response)) tell(message);
    } catch (err) {
      if (isStop(err)) return;
      // Pages that were loaded since are known: the next tab listens.
      if (err.status === 403) return void hear({ event: 'old' });
      tell({ event: 'gone' });
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}
