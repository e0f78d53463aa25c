// Gate `search`: a reader who types the name of a socket state or of a system
// call finds it, from the server and from the disk, and the link of the first
// result leads to a place that is there.

import { forEachIn, load } from './browser.mjs';

const TERMS = ['TIME-WAIT', 'accept'];

export async function search({ book, browser }) {
  const deepest = [...book.pages].sort((one, other) => (
    other.split('/').length - one.split('/').length))[0];
  const visits = TERMS.flatMap((term) => [
    { term, where: `${deepest} (served)`, url: book.url(deepest) },
    { term, where: `${deepest} (from the disk)`, url: book.fileUrl(deepest) },
  ]);
  const found = await forEachIn(browser, visits, async () => {}, async (tab, { term, url }) => {
    await load(tab, url);
    await openSearch(tab);
    await tab.type('#mdbook-searchbar', term);
    await tab.waitForSelector('#mdbook-searchresults li', { timeout: 5000 }).catch(() => {});
    const results = await tab.$$eval('#mdbook-searchresults li', (all) => (
      all.map((li) => ({ text: li.textContent, url: li.querySelector('a').href }))));
    const good = results.filter(({ text }) => text.toLowerCase().includes(term.toLowerCase()));
    if (good.length === 0) return { count: 0, fault: `"${term}" is not found` };
    await tab.goto(good[0].url);
    const there = await tab.evaluate(() => (
      !location.hash || document.getElementById(decodeURIComponent(location.hash.slice(1)))));
    return { count: good.length, fault: there ? '' : `leads nowhere: ${good[0].url}` };
  });
  const offenders = found.map(({ fault }, at) => ({ where: visits[at].where, what: fault }))
    .filter(({ what }) => what);
  const figures = visits.map(({ term }, at) => `${term} ${found[at].count}`).join(', ');
  return { figures: `results that name it: ${figures}`, offenders };
}

/** As a reader does it: by the key. The index is loaded only then. */
export async function openSearch(tab) {
  await tab.keyboard.press('/');
  await tab.waitForSelector('#mdbook-searchbar', { visible: true, timeout: 5000 });
}
