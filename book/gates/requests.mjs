// Gates `requests` and `weight`: a page asks for nothing that is not the book's
// own, all of it is there, and it is little.

import { forEachIn, load, openAll } from './browser.mjs';

const MOST_KIB = 400;

/** No request elsewhere, none that fails, no error: from a server and a disk. */
export async function requests({ book, browser }) {
  const offenders = [];
  let asked = 0;
  const visits = book.pages.flatMap((page) => [
    { where: `${page} (served)`, url: book.url(page), home: book.origin },
    { where: `${page} (from the disk)`, url: book.fileUrl(page), home: `${book.fileUrl('')}/` },
  ]);
  let current = new Map();
  await forEachIn(browser, visits, async (tab) => {
    const blame = (what) => offenders.push({ where: current.get(tab).where, what });
    tab.on('request', (request) => {
      asked += 1;
      const url = request.url();
      const own = /^(data|blob|about):/.test(url) || url.startsWith(current.get(tab).home);
      if (!own) blame(`asks elsewhere: ${url}`);
    });
    tab.on('requestfailed', (request) => {
      blame(`${request.failure().errorText}: ${request.url()}`);
    });
    tab.on('response', (response) => {
      if (response.status() >= 400) blame(`${response.status()}: ${response.url()}`);
    });
    tab.on('pageerror', (error) => blame(`script error: ${error.message}`));
    tab.on('console', (message) => {
      if (message.type() === 'error') blame(`console: ${message.text()}`);
    });
    const session = await tab.createCDPSession();
    await session.send('Network.enable');
    session.on('Network.webSocketCreated', ({ url }) => blame(`opens a WebSocket: ${url}`));
  }, async (tab, visit) => {
    current.set(tab, visit);
    await load(tab, visit.url);
    await openAll(tab);
    await tab.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
    await tab.waitForNetworkIdle({ idleTime: 100 });
  });
  const figures = `${offenders.length} faults in ${asked} requests, `
    + `${book.pages.length} pages served and from the disk`;
  return { figures, offenders };
}

/** The bytes of all that a page loads, with nothing kept from before. */
export async function weight({ book, browser }) {
  const bytes = new Map();
  const sizes = await forEachIn(browser, book.pages, async (tab) => {
    await tab.setCacheEnabled(false);
    tab.on('response', (response) => {
      const length = Number(response.headers()['content-length'] ?? 0);
      bytes.set(tab, (bytes.get(tab) ?? 0) + length);
    });
  }, async (tab, page) => {
    bytes.set(tab, 0);
    await tab.goto(book.url(page), { waitUntil: 'load' });
    await tab.waitForNetworkIdle({ idleTime: 100 });
    return { page, kib: bytes.get(tab) / 1024 };
  });
  sizes.sort((one, other) => one.kib - other.kib);
  const rank = (share) => sizes[Math.ceil(share * sizes.length) - 1].kib;
  const offenders = rank(0.95) <= MOST_KIB ? [] : sizes.filter(({ kib }) => kib > MOST_KIB)
    .map(({ page, kib }) => ({ where: page, what: `${kib.toFixed(0)} KiB` }));
  const figures = `median ${rank(0.5).toFixed(0)} KiB, 95th percentile `
    + `${rank(0.95).toFixed(0)}, largest ${rank(1).toFixed(0)}; at most ${MOST_KIB}`;
  return { figures, offenders };
}
