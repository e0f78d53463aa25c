// Gate `narrow`: on a screen of 380 pixels nothing is cut off, and the page does
// not scroll sideways. A wide table and a block of code scroll by themselves;
// nothing else does. A drawing fits its column, and its text can still be read.
// All that with JavaScript and without.

import { forEachIn, load, openAll } from './browser.mjs';

const WIDTH = 380;
const LEAST_PIXELS = 9;

export async function narrow({ book, browser }) {
  const offenders = [];
  let smallest = Infinity;
  for (const script of [true, false]) {
    await forEachIn(browser, book.pages, async (tab) => {
      await tab.setViewport({ width: WIDTH, height: 800, deviceScaleFactor: 1 });
      await tab.setJavaScriptEnabled(script);
    }, async (tab, page) => {
      await load(tab, book.url(page));
      for (const state of ['as loaded', 'opened']) {
        if (state === 'opened') await openAll(tab);
        const where = `${page} (${state}${script ? '' : ', no JavaScript'})`;
        const { faults, texts } = await tab.evaluate(measure);
        offenders.push(...faults.map((what) => ({ where, what })));
        for (const { text, pixels } of texts) {
          smallest = Math.min(smallest, pixels);
          const what = `${pixels.toFixed(1)} px: ${text}`;
          if (pixels < LEAST_PIXELS) offenders.push({ where, what });
        }
      }
    });
  }
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

  /** Whether what goes beyond the element's edge can be come to. */
  function scrolls(element) {
    return /auto|scroll/.test(getComputedStyle(element).overflowX);
  }
  /** Whether the element lies in one that scrolls, and may. */
  function isInScroller(element) {
    const around = element.parentElement?.closest(MAY_SCROLL);
    return Boolean(around) && (scrolls(around) || isInScroller(around));
  }

  for (const element of document.querySelectorAll('main :not(svg *)')) {
    if (!gates.visible(element) || isInScroller(element)) continue;
    const { left, right } = element.getBoundingClientRect();
    const isBox = element instanceof HTMLElement && element.clientWidth > 1;
    const hidden = isBox ? element.scrollWidth - element.clientWidth : 0;
    if (hidden > 1 && scrolls(element) && !element.matches(MAY_SCROLL)) {
      faults.push(`scrolls by itself: ${gates.name(element)}`);
    } else if (hidden > 1 && /hidden|clip/.test(getComputedStyle(element).overflowX)) {
      faults.push(`is cut off: ${gates.name(element)}`);
    }
    const reach = scrolls(element) ? right : right + Math.max(hidden, 0);
    if (reach > innerWidth + 1 || left < -1) {
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
