// The gates that the built book has to pass. Over every page, measured in a
// browser and not read from the sources: no accessibility violation in any of
// mdBook's five themes, whether its predictions are shut or open; no error of
// the HTML checker; no broken link; no request to anywhere else, from a server
// and from the disk; the whole text without JavaScript; at most 400 KiB a page;
// nothing to scroll sideways on a narrow screen; a search that finds; readable
// text in every figure; and buttons that a keyboard reaches.
//
// Usage: npm ci --prefix book/gates && node book/gates/gates.mjs DIR [GATE...]
//
// DIR is a built book. GATE names the gates to measure; without one, all.
// Needs Chromium or Chrome (CHROMIUM names it, if it is not found) and Java.
// Exits 1 if a gate is not passed, and 2 if it could not be measured.

import { openBook } from './book.mjs';
import { startBrowser } from './browser.mjs';
import { GATES } from './every.mjs';

const MOST_SHOWN = 10;

/** Measures the gates asked for, one after the other, and reports each. */
async function main([dir, ...names]) {
  const asked = names.length > 0 ? names : Object.keys(GATES);
  const unknown = asked.find((name) => !Object.hasOwn(GATES, name));
  if (!dir || unknown) {
    throw new Error(unknown ? `no gate ${unknown}: ${Object.keys(GATES).join(', ')}`
      : 'usage: node gates.mjs DIR [GATE...]');
  }
  const book = await openBook(dir);
  const browser = await startBrowser();
  let passed = true;
  try {
    for (const name of asked) {
      const started = Date.now();
      const result = await GATES[name]({ book, browser });
      passed = report(name, result, Date.now() - started) && passed;
    }
  } finally {
    await browser.close();
    await book.close();
  }
  return passed ? 0 : 1;
}

/**
 * Prints a gate's line and its offenders. Those that differ only in their page
 * are one line: a fault of the frame is on every page.
 */
function report(name, { figures, offenders }, millis) {
  const ok = offenders.length === 0;
  const seconds = (millis / 1000).toFixed(1);
  console.log(`${ok ? 'ok    ' : 'NOT ok'}  ${name.padEnd(13)} ${figures} (${seconds} s)`);

  const alike = new Map();
  for (const { where, what } of offenders) {
    alike.set(what, [...(alike.get(what) ?? []), where]);
  }
  for (const [what, places] of [...alike].slice(0, MOST_SHOWN)) {
    const more = places.length > 1 ? ` and ${places.length - 1} more` : '';
    console.log(`          ${what}\n              in ${places[0]}${more}`);
  }
  if (alike.size > MOST_SHOWN) {
    console.log(`          and ${alike.size - MOST_SHOWN} other kinds`);
  }
  return ok;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error.stack ?? error);
  process.exitCode = 2;
}
