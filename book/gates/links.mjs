// Gate `links`: everything that a document names is there. That is files and
// anchors, in links as in scripts, style sheets and frames; and the elements
// that others name by their id, in labels, ARIA attributes and drawings. An id
// names one element of its page. What is elsewhere is not asked for; a page may
// link to it, but not be made of it.

import path from 'node:path';
import fs from 'node:fs/promises';

export async function links({ book, browser }) {
  const documents = new Map();
  const tab = await browser.browser.newPage();
  for (const [file, text] of book.documents) {
    documents.set(file, await tab.evaluate(references, text));
  }
  await tab.close();

  const offenders = [];
  const count = { links: 0, elsewhere: 0, ids: 0 };
  for (const [file, { base, ids, names, targets }] of documents) {
    count.ids += names.length;
    for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) {
      offenders.push({ where: file, what: `two elements have the id ${id}` });
    }
    for (const { id, by } of names.filter((name) => !ids.includes(name.id))) {
      offenders.push({ where: file, what: `no element has the id ${id}, named by ${by}` });
    }
    for (const { url, by, part } of targets) {
      const fault = follow(book, documents, file, base, url, part, count);
      if (fault) offenders.push({ where: file, what: `${fault}: ${url}, named by ${by}` });
    }
  }
  offenders.push(...await inStyleSheets(book, count));
  const figures = `${offenders.length} broken of ${count.links} links and ${count.ids} names `
    + `by id; ${count.elsewhere} links elsewhere, not followed`;
  return { figures, offenders };
}

/** What is wrong with a link, or nothing. */
function follow(book, documents, file, base, url, part, count) {
  count.links += 1;
  if (/^(data|mailto):/i.test(url)) return undefined;
  if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(url)) {
    count.elsewhere += 1;
    return part ? 'a part of the page is elsewhere' : undefined;
  }
  // Only the page of the missing pages may begin at the root: it is shown in
  // place of any other, at any depth, and says so by its `base`.
  if (url.startsWith('/') && !base) return 'does not work from the disk';

  const [before, fragment] = url.split('#', 2);
  const name = decodeURIComponent(before.split('?', 1)[0]);
  const directory = base ? '' : path.dirname(file);
  const target = name === '' ? file : path.normalize(path.join(directory, name));
  if (target.startsWith('..')) return 'leads out of the book';
  if (!book.files.includes(target)) return 'no such file';
  const id = decodeURIComponent(fragment ?? '');
  if (id && documents.has(target) && !documents.get(target).ids.includes(id)) {
    return 'no such anchor';
  }
  return undefined;
}

/** The same for `url(...)` in the style sheets. */
async function inStyleSheets(book, count) {
  const offenders = [];
  for (const sheet of book.files.filter((file) => file.endsWith('.css'))) {
    const text = await fs.readFile(path.join(book.root, sheet), 'utf8');
    for (const [, url] of text.replace(/\/\*[^]*?\*\//g, '').matchAll(/url\(\s*['"]?([^'")]+)/g)) {
      const fault = follow(book, new Map(), sheet, '', url, true, count);
      if (fault) offenders.push({ where: sheet, what: `${fault}: ${url}` });
    }
  }
  return offenders;
}

/**
 * In a page: what a document names. It is parsed as if there were no
 * JavaScript, so that the contents of `noscript` are elements too.
 */
function references(text) {
  const parsed = new DOMParser().parseFromString(text, 'text/html');
  const PARTS = 'link:not([rel=canonical]), script, img, iframe, source, object, use, image, video';
  const BY_ID = ['for', 'form', 'list', 'headers', 'aria-labelledby', 'aria-describedby',
    'aria-controls', 'aria-owns', 'aria-details', 'aria-activedescendant'];
  const targets = [];
  const names = [];
  for (const element of parsed.querySelectorAll('*')) {
    for (const { name, value } of element.attributes) {
      const by = `${element.localName}[${name}]`;
      if (['href', 'src', 'data', 'poster', 'xlink:href'].includes(name) && element.localName !== 'base') {
        targets.push({ url: value.trim(), by, part: element.matches(PARTS) });
      } else if (BY_ID.includes(name)) {
        names.push(...value.split(/\s+/).filter(Boolean).map((id) => ({ id, by })));
      }
      for (const [, id] of value.matchAll(/url\(\s*['"]?#([^'")]+)/g)) names.push({ id, by });
    }
  }
  const refresh = parsed.querySelector('meta[http-equiv=refresh]')?.content.match(/url=(.*)/i);
  if (refresh) targets.push({ url: refresh[1].trim(), by: 'meta[http-equiv=refresh]', part: false });
  return {
    base: parsed.querySelector('base')?.getAttribute('href') ?? '',
    ids: [...parsed.querySelectorAll('[id]')].map(({ id }) => id), names, targets,
  };
}
