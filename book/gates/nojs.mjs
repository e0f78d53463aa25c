// Gate `nojs`: without JavaScript a page says and shows all that it does with
// it, before and after its predictions are opened, and its reader comes to the
// table of contents: on a wide screen and on a narrow one.

import { forEachIn, load, openAll } from './browser.mjs';

const WIDTHS = [1280, 380];

export async function nojs({ book, browser }) {
  const states = ['as loaded', 'opened'];
  const take = (enabled) => forEachIn(browser, book.pages,
    (tab) => tab.setJavaScriptEnabled(enabled), async (tab, page) => {
      await load(tab, book.url(page));
      const before = await tab.evaluate(inventory);
      await openAll(tab);
      return [before, await tab.evaluate(inventory)];
    });
  const withIt = await take(true);
  const without = await take(false);

  const offenders = [];
  let shown = 0;
  book.pages.forEach((page, at) => states.forEach((state, of) => {
    const where = `${page} (${state})`;
    shown += withIt[at][of].length;
    for (const what of missing(withIt[at][of], without[at][of])) {
      offenders.push({ where, what: `not there: ${what}` });
    }
  }));
  offenders.push(...await contents(book, browser));
  const figures = `${offenders.length} faults; ${shown} lines and elements compared, `
    + `contents asked for at ${WIDTHS.join(' and ')} px`;
  return { figures, offenders };
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
  // Colours for code, and the buttons beside it, are what JavaScript is for.
  const elements = [...main.querySelectorAll(':not(.buttons, .buttons *, pre code *)')]
    .filter(gates.visible)
    .map((element) => `${element.localName} ${element.id} ${gates.ownText(element).slice(0, 60)}`);
  return [...lines.filter(Boolean).map((line) => `line "${line}"`), ...elements];
}

/**
 * The contents without JavaScript: a frame or a link that is seen, and that
 * leads to each page.
 */
async function contents(book, browser) {
  const offenders = [];
  for (const width of WIDTHS) {
    await forEachIn(browser, book.pages, async (tab) => {
      await tab.setViewport({ width, height: 900 });
      await tab.setJavaScriptEnabled(false);
    }, async (tab, page) => {
      await load(tab, book.url(page));
      const found = await tab.evaluate(wayToContents);
      if (!found) offenders.push({ where: page, what: `no way to the contents at ${width} px` });
    });
  }
  const tab = await browser.browser.newPage();
  await tab.goto(book.url('toc.html'));
  const listed = await tab.$$eval('a', (all) => all.map(({ href }) => href));
  await tab.close();
  // The first chapter is there twice: mdBook makes the index of it.
  const unlisted = book.pages.filter((page) => page !== 'index.html' && !listed.includes(book.url(page)));
  return [...offenders, ...unlisted.map((page) => ({ where: 'toc.html', what: `no link to ${page}` }))];
}

/** In the page: whether the contents, or a link to them, are on the screen. */
function wayToContents() {
  const ways = document.querySelectorAll('iframe[src$="toc.html"], a[href$="toc.html"]');
  return [...ways].some((way) => {
    const { left, right, top } = way.getBoundingClientRect();
    return gates.visible(way) && left >= 0 && right <= innerWidth && top < innerHeight;
  });
}
