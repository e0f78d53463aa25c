// Breaks a built book in many ways, one at a time and in a copy, and sees that
// the gate whose matter it is refuses it, for the reason that was put there. A
// gate that has never been seen to fail is not finished.
//
// Usage: node book/gates/broken.mjs DIR
//
// DIR is a built book that passes the gates. Only one of its pages is measured.

import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { openBook } from './book.mjs';
import { startBrowser } from './browser.mjs';
import { GATES } from './every.mjs';

const IMAGE = 'data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=';

/** Adds to the end of a page's text. */
const text = (more) => (page) => page.replace('</main>', () => `${more}</main>`);
const drawing = (inner, attributes = 'viewBox="0 0 300 40"') => text(
  `<figure class="lab"><svg ${attributes} role="img" aria-label="A drawing">${inner}</svg></figure>`,
);
const swap = (old, now) => (page) => {
  if (!page.includes(old)) throw new Error(`nothing to break: ${old} is not in the page`);
  return page.replaceAll(old, () => now);
};

/**
 * The gate; what is done to the page, or to the file whose name begins with
 * `file`; and what the gate has to say of it.
 */
const BREAKS = [
  ['accessibility', text('<p style="color: #aaa">Weak.</p>'), /light, as loaded\).*color-contrast/],
  ['accessibility', text('<style>.navy main p { color: #3b4056 }</style>'), /navy, as loaded\).*color-contrast/],
  ['accessibility', text(`<details><summary>More</summary><img src="${IMAGE}"></details>`),
    /light, opened\).*image-alt/],
  ['accessibility', text('<style>.why { display: none } .predict:has(:checked) .why { display: block }</style>'
    + '<fieldset class="predict"><legend>What?</legend><label><input type="radio" name="p"> This</label>'
    + '<p class="why" style="color: #bbb; background: #fff">Because.</p></fieldset>'),
  /ayu, opened\).*color-contrast/],
  ['accessibility', swap('role="banner"', ''), /region/],
  ['figure-text', drawing('<text x="5" y="25" fill="#999">grey</text>'), /light.*2\.\d\d:1, "grey"/],
  ['figure-text', drawing('<rect width="200" height="40" fill="#222"/><text x="5" y="25" fill="#000">lost</text>'),
    /light.*1\.\d\d:1, "lost"/],
  ['figure-text', drawing('<text x="5" y="25"><tspan fill="#fff">white</tspan></text>'), /light.*1\.00:1, "white"/],
  ['figure-text', drawing('<g opacity="0.3"><text x="5" y="25" fill="#000">thin</text></g>'), /light.*"thin"/],
  ['figure-text', drawing('<text x="5" y="25" fill="#000" style="fill: #000">night</text>'), /coal.*"night"/],
  ['html', text('<p><a href="#x"><a href="#y">in a link</a></a></p>'), /Start tag “a” seen/],
  ['html', drawing('<rectangle/>'), /rectangle/],
  ['links', text('<a href="missing.html">gone</a>'), /no such file: missing\.html/],
  ['links', text('<a href="#nowhere">gone</a>'), /no such anchor: #nowhere/],
  ['links', text('<a href="/index.html">rooted</a>'), /does not work from the disk/],
  ['links', text('<p id="twice">a</p><p id="twice">b</p>'), /two elements have the id twice/],
  ['links', text('<p aria-describedby="nobody">a</p>'), /no element has the id nobody/],
  ['links', drawing('<line x1="0" y1="0" x2="9" y2="9" marker-end="url(#head)"/>'), /no element has the id head/],
  ['links', text('<img alt="" src="https://example.org/a.png">'), /a part of the page is elsewhere/],
  ['links', swap('general-', 'specific-'), /no such file: .*specific-/],
  ['requests', text('<img alt="" src="http://192.0.2.1/a.png">'), /served\).*asks elsewhere: http:\/\/192/],
  ['requests', text('<img alt="" src="http://192.0.2.1/a.png">'), /disk\).*asks elsewhere: http:\/\/192/],
  ['requests', text('<img alt="" src="missing.png">'), /served\).*404.*missing\.png/],
  ['requests', text('<img alt="" src="missing.png">'), /disk\).*ERR_FILE_NOT_FOUND/],
  ['requests', text('<script>undefined_name()</script>'), /script error: .*undefined_name/],
  ['requests', text('<script>fetch("data.json")</script>'), /disk\).*console/],
  ['nojs', text('<p id="late" hidden>Told late.</p><script>late.hidden = false</script>'),
    /not there: line "Told late\."/],
  ['nojs', text('<script>document.querySelector("main").append(document.createElement("hr"))</script>'),
    /not there: hr/],
  ['nojs', text('<details><summary>A</summary><p id="b" hidden>In it.</p></details>'
    + '<script>b.hidden = false</script>'), /\(opened\).*not there: line "In it\."/],
  ['nojs', swap('toc.html', 'index.html'), /no way to the contents at 1280 px.*no way to the contents at 380 px/s],
  ['weight', text('<script src="../heavy.js"></script>'), /KiB/],
  ['narrow', text('<div style="width: 600px">wide</div>'), /beyond the edge/],
  ['narrow', text('<div style="overflow: auto"><p style="width: 600px">wide</p></div>'), /scrolls by itself/],
  ['narrow', text('<div style="overflow: hidden"><p style="width: 600px">wide</p></div>'), /is cut off/],
  ['narrow', text('<style>html:not(.js) pre > code { overflow: visible }</style>'
    + `<pre><code>${'wide '.repeat(40)}</code></pre>`), /no JavaScript\).*beyond the edge/],
  ['narrow', drawing('<text x="5" y="25">wide</text>', 'width="500" height="40"'), /wider than its column/],
  ['narrow', drawing('<text x="5" y="25" font-size="20">small</text>', 'width="300" height="40" viewBox="0 0 900 120"'),
    /6\.7 px: "small"/],
  ['search', (index) => index.replace(/accept/gi, 'receive'), /"accept" is not found/, 'searchindex-'],
  ['search', (index) => `${index}]`, /is not found/, 'searchindex-'],
  ['frame', swap("event.target.closest('#mdbook-sidebar-toggle')", 'false'), /sidebar not shut after 1 presses/],
  ['frame', swap('</main>', '</main><style>html.navy.navy { --searchresults-header-fg: #5f5f71 }</style>'),
    /the search \(navy\).*color-contrast/],
  ['frame', swap('id="mdbook-theme-toggle"', 'disabled id="mdbook-theme-toggle"'),
    /the list of themes.*not opened by the keyboard/],
];

async function main([dir]) {
  if (!dir) throw new Error('usage: node broken.mjs DIR');
  const copy = await fs.mkdtemp(path.join(os.tmpdir(), 'book-broken-'));
  const browser = await startBrowser();
  let unseen = 0;
  try {
    await fs.cp(dir, copy, { recursive: true });
    await fs.writeFile(path.join(copy, 'heavy.js'), ' '.repeat(400 * 1024));
    for (const gate of Object.keys(GATES)) {
      const said = await measure(copy, browser, gate);
      unseen += report(said === '', `${gate}: nothing is wrong`, said);
    }
    for (const [gate, change, expected, file] of BREAKS) {
      const said = await broken(copy, file, change, () => measure(copy, browser, gate));
      unseen += report(expected.test(said), `${gate}: ${expected}`, said);
    }
  } finally {
    await browser.close();
    await fs.rm(copy, { recursive: true, force: true });
  }
  return unseen === 0 ? 0 : 1;
}

function report(seen, what, said) {
  console.log(`${seen ? 'seen    ' : 'NOT seen'}  ${what}`);
  if (!seen) console.log(`          said: ${said.slice(0, 600) || 'nothing'}`);
  return seen ? 0 : 1;
}

/** What `measure` says while a file is changed. */
async function broken(copy, file, change, measure) {
  const name = file ? (await fs.readdir(copy)).find((one) => one.startsWith(file))
    : await firstPage(copy);
  const whole = await fs.readFile(path.join(copy, name), 'utf8');
  await fs.writeFile(path.join(copy, name), change(whole));
  try {
    return await measure();
  } finally {
    await fs.writeFile(path.join(copy, name), whole);
  }
}

/** What the gate says of the book when it has that one page only. */
async function measure(copy, browser, gate) {
  const book = await openBook(copy);
  try {
    const { offenders } = await GATES[gate]({ book: { ...book, pages: book.pages.slice(0, 1) }, browser });
    return offenders.map(({ where, what }) => `${where}: ${what}`).join('\n');
  } finally {
    await book.close();
  }
}

async function firstPage(copy) {
  const book = await openBook(copy);
  await book.close();
  return book.pages[0];
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error.stack ?? error);
  process.exitCode = 2;
}
