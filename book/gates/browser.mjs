// One browser for all gates, and what they all do with it.

import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { instruments } from './instruments.mjs';

const TABS = 2;
const PLACES = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
];

/**
 * A browser with an empty profile that reaches this machine only: its proxy is
 * a port where nobody listens, so that a request to elsewhere shows, and fails.
 */
export async function startBrowser() {
  const profile = await fs.mkdtemp(path.join(os.tmpdir(), 'book-gates-'));
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? await firstOf(PLACES),
    userDataDir: profile,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--proxy-server=127.0.0.1:9', '--hide-scrollbars',
    ],
  });
  return {
    browser,
    close: async () => {
      await browser.close();
      await fs.rm(profile, { recursive: true, force: true });
    },
  };
}

async function firstOf(paths) {
  for (const file of paths) {
    if (await fs.access(file).then(() => true, () => false)) return file;
  }
  throw new Error(`no browser: none of ${paths.join(', ')}; name one in CHROMIUM`);
}

/**
 * Calls `visit(tab, item)` for each item, in a few tabs side by side, each in a
 * profile of its own: what one page stores, another tab does not find. Answers
 * with what the calls returned, in the order of the items.
 */
export async function forEachIn({ browser }, items, prepare, visit) {
  const results = new Array(items.length);
  let next = 0;
  const work = async () => {
    const context = await browser.createBrowserContext();
    const tab = await context.newPage();
    await tab.setViewport({ width: 1280, height: 900 });
    await tab.emulateMediaFeatures([{ name: 'prefers-reduced-motion', value: 'reduce' }]);
    await prepare(tab);
    while (next < items.length) {
      const index = next++;
      results[index] = await visit(tab, items[index]);
    }
    await context.close();
  };
  await Promise.all(Array.from({ length: Math.min(TABS, items.length) }, work));
  return results;
}

/** Loads a page; after that `gates`, the instruments, can be used in it. */
export async function load(tab, url) {
  await tab.goto(url, { waitUntil: 'load' });
  await tab.evaluate(instruments);
}

/** Opens each prediction and all that is folded, as a reader would. */
export async function openAll(tab) {
  await tab.evaluate(() => gates.openAll());
}
