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
  await inEachTheme(book, browser, startAxe, async (tab, where) => {
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
  await inEachTheme(book, browser, async () => {}, async (tab, where) => {
    const found = await tab.evaluate(figureContrasts);
    texts += found.length;
    for (const { text, contrast } of found.filter((one) => one.contrast < LEAST_CONTRAST)) {
      offenders.push({ where, what: `${contrast.toFixed(2)}:1, ${text}` });
    }
  });
  const figures = `${offenders.length} of ${texts} texts in drawings below ${LEAST_CONTRAST}:1`;
  return { figures, offenders };
}

/** Calls `start(tab)` once for each page, and `measure(tab, where)` ten times. */
async function inEachTheme(book, browser, start, measure) {
  await forEachIn(browser, book.pages, async () => {}, async (tab, page) => {
    await load(tab, book.url(page));
    await start(tab);
    for (const state of ['as loaded', 'opened']) {
      if (state === 'opened') await openAll(tab);
      for (const theme of THEMES) {
        await tab.evaluate(setTheme, theme);
        await measure(tab, `${page} (${theme}, ${state})`);
      }
    }
  });
}

/** Gives the page axe, which `violations` uses. */
export async function startAxe(tab) {
  await tab.evaluate(axe);
}

/**
 * In the page: gives it another theme, by mdBook's own button, since that does
 * more than change a class. It turns style sheets on, and code has the colours
 * of the old theme until they are there. What would fade does not.
 */
export async function setTheme(theme) {
  if (!document.getElementById('gates-style')) {
    const style = document.createElement('style');
    style.id = 'gates-style';
    style.textContent = '* { transition: none !important; animation: none !important }';
    document.head.append(style);
  }
  document.getElementById(`mdbook-theme-${theme}`).click();
  const sheets = [...document.querySelectorAll('link[rel=stylesheet]')];
  while (sheets.some((link) => !link.disabled && !link.sheet)) {
    await new Promise((done) => setTimeout(done, 5));
  }
}

/** In the page: what axe finds, node by node. */
export async function violations() {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.flatMap(({ id, nodes }) => nodes.map(
    ({ target }) => ({ rule: id, target: target.flat().join(' ') }),
  ));
}
