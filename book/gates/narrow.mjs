// Gate `narrow`: on a screen of 380 pixels nothing is cut off, and the page does
// not scroll sideways. A wide table and a block of code scroll by themselves;
// nothing else does. A drawing fits its column, and its text can still be read.

import { forEachIn, load, openAll } from './browser.mjs';

const WIDTH = 380;
const LEAST_PIXELS = 9;

export async function narrow({ book, browser }) {
  const offenders = [];
  let smallest = Infinity;
  await forEachIn(browser, book.pages, async (tab) => {
    await tab.setViewport({ width: WIDTH, height: 800, deviceScaleFactor: 1 });
  }, async (tab, page) => {
    await load(tab, book.url(page));
    for (const state of ['as loaded', 'opened']) {
      if (state === 'opened') await openAll(tab);
      const where = `${page} (${state})`;
      const found = await tab.evaluate(measure);
      smallest = Math.min(smallest, ...found.texts.map(({ pixels }) => pixels));
      for (const { text, pixels } of found.texts.filter((one) => one.pixels < LEAST_PIXELS)) {
        offenders.push({ where, what: `${pixels.toFixed(1)} px: ${text}` });
      }
      offenders.push(...found.faults.map((what) => ({ where, what })));
    }
  });
  const text = smallest === Infinity ? 'no text in drawings'
    : `smallest text in a drawing ${smallest.toFixed(1)} px, at least ${LEAST_PIXELS}`;
  return { figures: `${offenders.length} faults at ${WIDTH} px; ${text}`, offenders };
}

/** In the page: what does not fit, and how large the drawings' letters are. */
function measure() {
  const MAY_SCROLL = '.table-wrapper, pre, pre > code';
  const faults = [];
  const { scrollWidth } = document.scrollingElement;
  if (scrollWidth > innerWidth) faults.push(`the page is ${scrollWidth} px wide`);

  for (const element of document.querySelectorAll('main :not(svg *)')) {
    if (!gates.visible(element)) continue;
    const { overflowX } = getComputedStyle(element);
    const scrolls = overflowX !== 'visible' && element instanceof HTMLElement
      && element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1;
    if (scrolls && !element.matches(MAY_SCROLL)) {
      const how = /auto|scroll/.test(overflowX) ? 'scrolls by itself' : 'is cut off';
      faults.push(`${how}: ${gates.name(element)}`);
    }
    const { left, right } = element.getBoundingClientRect();
    const beyond = right > innerWidth + 1 || left < -1;
    if (beyond && !element.parentElement.closest(MAY_SCROLL)) {
      faults.push(`beyond the edge: ${gates.name(element)}`);
    }
  }

  const texts = [];
  for (const svg of document.querySelectorAll('main svg')) {
    if (!gates.visible(svg)) continue;
    const column = svg.closest('figure, main').getBoundingClientRect();
    const box = svg.getBoundingClientRect();
    if (box.width > column.width + 1 || box.right > column.right + 1) {
      faults.push(`wider than its column: ${gates.name(svg)}`);
    }
    for (const text of svg.querySelectorAll('text, tspan, textPath')) {
      if (!gates.ownText(text) || !gates.visible(text)) continue;
      const { c, d } = text.getScreenCTM();
      const pixels = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(c, d);
      texts.push({ text: `"${gates.ownText(text)}" in ${gates.name(text)}`, pixels });
    }
  }
  return { faults: [...new Set(faults)], texts };
}
