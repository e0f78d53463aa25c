// Gate `nojs`: without JavaScript a page says and shows all that it does with
// it, before and after its predictions are opened, and its reader comes to the
// table of contents: on a wide screen and on a narrow one.

import { forEachIn, load, openAll } from './browser.mjs';

const WIDTHS = [1280, 380];

export async function nojs({ book, browser }) {
  const withIt = await visit(book, browser, true);
  const without = await visit(book, browser, false);

  const offenders = [];
  let compared = 0;
  book.pages.forEach((page, at) => {
    for (const [state, shown] of Object.entries(withIt[at].shown)) {
      compared += shown.length;
      for (const what of missing(shown, without[at].shown[state])) {
        offenders.push({ where: `${page} (${state})`, what: `not there: ${what}` });
      }
    }
    for (const width of WIDTHS.filter((one) => !without[at].reached.includes(one))) {
      offenders.push({ where: page, what: `no way to the contents at ${width} px` });
    }
  });
  offenders.push(...await unlisted(book, browser));
  const figures = `${offenders.length} faults; ${compared} lines and elements compared, `
    + `contents looked for at ${WIDTHS.join(' and ')} px`;
  return { figures, offenders };
}

/** What each page shows, and at which widths its reader comes to the contents. */
function visit(book, browser, enabled) {
  return forEachIn(browser, book.pages, (tab) => tab.setJavaScriptEnabled(enabled), async (tab, page) => {
    await tab.setViewport({ width: WIDTHS[0], height: 900 });
    await load(tab, book.url(page));
    const shown = { 'as loaded': await tab.evaluate(inventory) };
    await openAll(tab);
    shown.opened = await tab.evaluate(inventory);
    const reached = [];
    for (const width of WIDTHS) {
      await tab.setViewport({ width, height: 900 });
      if (await tab.evaluate(wayToContents)) reached.push(width);
    }
    return { shown, reached };
  });
}

/** What is in `whole` more often than in `part`. */
function missing(whole, part) {
  const left = new Map();
  for (const item of part) left.set(item, (left.get(item) ?? 0) + 1);
  return whole.filter((item) => {
    left.set(item, (left.get(item) ?? 0) - 1);
    return left.get(item) < 0;
  });
}

/** In the page: each line that can be read in it, each element that is seen. */
function inventory() {
  const main = document.querySelector('main');
  const lines = main.innerText.split('\n').map((line) => line.replace(/\s+/g, ' ').trim());
  // The buttons beside code, and its colours, are what JavaScript is for; what
  // the code says is among the lines.
  const elements = [...main.querySelectorAll(':not(.buttons, .buttons *, pre code, pre code *)')]
    .filter(gates.visible)
    .map((element) => `${element.localName} ${element.id} ${gates.ownText(element).slice(0, 60)}`);
  return [...lines.filter(Boolean).map((line) => `line "${line}"`), ...elements];
}

/** Pages that the contents do not lead to. */
async function unlisted(book, browser) {
  const tab = await browser.browser.newPage();
  await tab.goto(book.url('toc.html'));
  const listed = await tab.$$eval('a', (all) => all.map(({ href }) => href));
  await tab.close();
  // The first chapter is there twice: mdBook makes the index of it.
  return book.pages.filter((page) => page !== 'index.html' && !listed.includes(book.url(page)))
    .map((page) => ({ where: 'toc.html', what: `no link to ${page}` }));
}

/** In the page: whether the contents, or a link to them, are on the screen. */
function wayToContents() {
  const ways = document.querySelectorAll('iframe[src$="toc.html"], a[href$="toc.html"]');
  return [...ways].some((way) => {
    const { left, right, top } = way.getBoundingClientRect();
    return gates.visible(way) && left >= 0 && right <= innerWidth && top < innerHeight;
  });
}
