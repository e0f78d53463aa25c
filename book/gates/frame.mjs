// Gate `frame`: the parts of mdBook's frame that are shut when a page is loaded.
// A keyboard opens each of them, and axe finds nothing in what is then there.

import { THEMES, setTheme, startAxe, violations } from './accessibility.mjs';
import { forEachIn, load } from './browser.mjs';
import { openSearch } from './search.mjs';

const RESULT = '#mdbook-searchresults li a';

/** How each part is opened. */
const PARTS = {
  'the search': async (tab) => {
    await openSearch(tab);
    await tab.type('#mdbook-searchbar', 'accept');
    await tab.waitForSelector(RESULT, { visible: true });
  },
  'a page that was found': async (tab, theme) => {
    await PARTS['the search'](tab);
    await Promise.all([tab.waitForNavigation(), tab.click(RESULT)]);
    await startAxe(tab);
    await tab.evaluate(setTheme, theme);
    await tab.waitForSelector('main mark', { visible: true });
  },
  'the list of themes': async (tab) => {
    await press(tab, '#mdbook-theme-toggle');
    await tab.waitForSelector('#mdbook-theme-list', { visible: true });
  },
  'the help': async (tab) => {
    await tab.keyboard.press('?');
    await tab.waitForSelector('#mdbook-help-popup', { visible: true });
  },
};

export async function frame({ book, browser }) {
  const offenders = await sidebar(book, browser);
  const visits = Object.keys(PARTS).flatMap((part) => THEMES.map((theme) => ({ part, theme })));
  await forEachIn(browser, visits, async () => {}, async (tab, { part, theme }) => {
    const where = `${part} (${theme})`;
    await load(tab, book.url(book.pages[0]));
    await startAxe(tab);
    await tab.evaluate(setTheme, theme);
    const opened = await PARTS[part](tab, theme).then(() => true, () => false);
    if (!opened) offenders.push({ where, what: 'is not opened by the keyboard' });
    for (const { rule, target } of await tab.evaluate(violations)) {
      offenders.push({ where, what: `${rule}: ${target}` });
    }
  });
  const figures = `${offenders.length} faults; the sidebar at two widths, `
    + `${visits.length} times a part that was shut`;
  return { figures, offenders };
}

/** The button of the sidebar shuts and opens it, and says which it did. */
async function sidebar(book, browser) {
  const offenders = [];
  await forEachIn(browser, [1280, 380], async () => {}, async (tab, width) => {
    await tab.setViewport({ width, height: 900 });
    await load(tab, book.url(book.pages[0]));
    for (let presses = 0; presses <= 2; presses += 1) {
      if (presses > 0) await press(tab, '#mdbook-sidebar-toggle');
      const open = (width === 1280) === (presses !== 1);
      const right = await tab.waitForFunction(sidebarIs, { timeout: 3000 }, open)
        .then(() => true, () => false);
      if (!right) {
        const what = `sidebar not ${open ? 'open' : 'shut'} after ${presses} presses of its button`;
        offenders.push({ where: `${book.pages[0]} (${width} px)`, what });
      }
    }
  });
  return offenders;
}

/** In the page: whether the sidebar is open, or shut, and its button says so. */
function sidebarIs(open) {
  const nav = document.getElementById('mdbook-sidebar');
  const shown = gates.visible(nav) && nav.getBoundingClientRect().left >= 0;
  const said = document.getElementById('mdbook-sidebar-toggle').getAttribute('aria-expanded');
  return shown === open && said === String(open);
}

async function press(tab, button) {
  await tab.focus(button);
  await tab.keyboard.press('Enter');
}
