// Gates `accessibility` and `figure-text`: what depends on a page's colours, so
// both go through all themes, as the page is loaded and with all of it opened.

import fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import { forEachIn, load, openAll } from './browser.mjs';
import { figureContrasts } from './figure-text.mjs';

export const THEMES = ['light', 'rust', 'coal', 'navy', 'ayu'];
const LEAST_CONTRAST = 4.5;
const axe = await fs.readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** axe-core finds nothing, in any theme. It does not look into drawings. */
export async function accessibility({ book, browser }) {
  const offenders = [];
  let runs = 0;
  await inEachTheme(book, browser, async (tab, where) => {
    runs += 1;
    for (const { rule, target } of await tab.evaluate(violations)) {
      offenders.push({ where, what: `${rule}: ${target}` });
    }
  });
  const figures = `${offenders.length} violating nodes on ${book.pages.length} pages, `
    + `${runs} runs of axe`;
  return { figures, offenders };
}

/** Each text in a drawing has the contrast that WCAG wants of any text. */
export async function figureText({ book, browser }) {
  const offenders = [];
  let texts = 0;
  await inEachTheme(book, browser, async (tab, where) => {
    const found = await tab.evaluate(figureContrasts);
    texts += found.length;
    for (const { text, contrast } of found.filter((one) => one.contrast < LEAST_CONTRAST)) {
      offenders.push({ where, what: `${contrast.toFixed(2)}:1, ${text}` });
    }
  });
  const figures = `${offenders.length} of ${texts} texts in drawings below ${LEAST_CONTRAST}:1`;
  return { figures, offenders };
}

/** Calls `measure(tab, where)` ten times for each page. */
async function inEachTheme(book, browser, measure) {
  await forEachIn(browser, book.pages, async () => {}, async (tab, page) => {
    await load(tab, book.url(page));
    for (const state of ['as loaded', 'opened']) {
      if (state === 'opened') await openAll(tab);
      for (const theme of THEMES) {
        await startAxe(tab, theme);
        await measure(tab, `${page} (${theme}, ${state})`);
      }
    }
  });
}

/** Gives the page its theme and axe; what would fade stops fading. */
export async function startAxe(tab, theme) {
  await tab.evaluate(axe);
  await tab.addStyleTag({ content: '* { transition: none !important; animation: none !important }' });
  // By mdBook's own button: it changes more than a class.
  await tab.evaluate((name) => document.getElementById(`mdbook-theme-${name}`).click(), theme);
}

/** In the page: what axe finds, node by node. */
export async function violations() {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.flatMap(({ id, nodes }) => nodes.map(
    ({ target }) => ({ rule: id, target: target.flat().join(' ') }),
  ));
}
