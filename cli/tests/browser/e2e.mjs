// The live book end to end: a browser, `lab serve` and a copy of the checkout.
// A reader reads, predicts, runs, takes the wire in hand, writes the program and
// sees it pass; pages of somebody else get nothing.
//
// Usage: npm ci --prefix book/gates && node cli/tests/browser/e2e.mjs [STEP...]
// Needs Chromium or Chrome (CHROMIUM names it, if it is not found). Prints what
// it measures; exits 1 with the name of the first step that fails. With names it
// takes these steps alone, in the order of the whole.

import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { THEMES, setTheme, startAxe, violations } from '../../../book/gates/accessibility.mjs';
import { startBrowser } from '../../../book/gates/browser.mjs';
import { freshCheckout, serve } from './checkout.mjs';
import { attack, strangers } from './stranger.mjs';

const HANDSHAKE = '/ch03-tcp/handshake.html';
const BACKLOG = '/ch05-sockets/backlog.html';
const BACKLOG_FILE = 'ch05_sockets/backlog.rs';
const WRONG = 'fn main() { let wrong: u8 = "text"; }\n';

/** No step takes longer, on a busy machine and with the compiler at work. */
const STEP_MS = 240_000;
/** What needs neither a compiler nor patience of a program. */
const SOON_MS = 10_000;
/** A run, or a verdict, with its compiler. */
const RUN_MS = 120_000;
const FIRST_EVENT_MS = 150;
const RUNS_MEASURED = 5;
const NARROW = 380;
/** More than the connections that a browser keeps to one server. */
const MANY_TABS = 8;

// ---- The steps, in their order. Each is given the world, and throws.

async function reads_the_page({ reader, origin }) {
  await open(reader, origin + BACKLOG);
  await until(reader, 'section.live', /stub/);
  assert.match(await text(reader, 'section.live h2'), /Run it on your machine/);
}

async function predicts_and_is_remembered({ reader, origin }) {
  await open(reader, origin + BACKLOG);
  const option = 'form.predict label:nth-of-type(2) input';
  await reader.click(option);
  await open(reader, origin + BACKLOG);
  assert.ok(await reader.$eval(option, (input) => input.checked), 'the choice is still there');
  await reader.waitForSelector('form.predict .reason.happened', { visible: true });
  await open(reader, `${origin}/predictions.html`);
  await (await buttonNamed(reader, 'Forget my predictions')).click();
  await until(reader, 'p.live [role=status]', /^1 predictions/);
  await open(reader, origin + BACKLOG);
  assert.ok(!await reader.$eval(option, (input) => input.checked), 'the choice is forgotten');
}

async function runs_the_reference({ reader, origin }) {
  await open(reader, origin + BACKLOG);
  await press(reader, 'Run');
  await runIsOver(reader);
  assert.match(await text(reader, '.live-figure figcaption'), /solutions\/ch05_sockets/);
  assert.ok(await reader.$('.live-figure svg.wide') && await reader.$('.live-figure svg.narrow'));
  assert.ok(await reader.$('.live-figure table tbody tr'), 'the same as a table');
  const lines = await reader.$$eval('.live-log > div', (all) => all.length);
  assert.ok(lines > 5 && lines <= 500, `${lines} lines in the log`);
}

async function sees_the_first_event_at_once({ reader, origin }) {
  await open(reader, origin + HANDSHAKE);
  const taken = [];
  for (let run = 0; run <= RUNS_MEASURED; run += 1) {
    await reader.evaluate(timeTheFirstLine);
    await press(reader, 'Run');
    await runIsOver(reader);
    taken.push(await reader.evaluate(() => globalThis.firstLine));
  }
  // The first of all may have had to build the program.
  const warm = taken.slice(1).sort((a, b) => a - b);
  const ms = (time) => `${time.toFixed(0)} ms`;
  measured(`click to first line: ${warm.map(ms).join(', ')}; the first time ${ms(taken[0])}`);
  const median = warm[Math.floor(warm.length / 2)];
  assert.ok(median <= FIRST_EVENT_MS, `${ms(median)} from the click to the first line`);
}

async function chooses_what_runs({ reader, origin }) {
  await open(reader, origin + HANDSHAKE);
  await reader.click('section.live form summary');
  await fill(reader, 'rule for the wire', 'drop synack from Kongming20');
  await fill(reader, 'seed', '7');
  await (await labelled(reader, 'show system calls')).click();
  await press(reader, 'Run');
  await runIsOver(reader);
  assert.match(await text(reader, '.live-figure figcaption'), /seed 7/);
  assert.ok(await reader.$('.live-log .live-call'), 'system calls are shown');
  assert.match(await text(reader, '.live-log'), /SYN/);
  await fill(reader, 'rule for the wire', 'lose everything');
  await press(reader, 'Run');
  await until(reader, '.live-trouble', /lose/);
}

async function cuts_the_wire_by_hand({ reader, origin }) {
  await open(reader, origin + HANDSHAKE);
  await press(reader, 'Run');
  await reader.waitForSelector('.live-wire:enabled');
  await press(reader, 'Cut');
  await until(reader, '.live-wire + [role=status]', /cable is out/);
  await runIsOver(reader);
  await until(reader, 'section.live', /It stopped early/);
  await until(reader, '.live-differs', /your run: .*, recorded: /);
  assert.ok(await reader.$('.live-wire:disabled'), 'the console is shut after the run');
}

async function is_told_of_a_wrong_rule({ reader, origin }) {
  await open(reader, origin + HANDSHAKE);
  await press(reader, 'Run');
  await reader.waitForSelector('.live-wire:enabled');
  await reader.type('.live-wire input', 'tie a knot');
  await reader.keyboard.press('Enter');
  await until(reader, '.live-wire + [role=status]', /tie/);
  await runIsOver(reader);
}

async function stops_a_run_and_keeps_the_focus({ reader, origin }) {
  await open(reader, origin + HANDSHAKE);
  await (await buttonNamed(reader, 'Run')).focus();
  await reader.keyboard.press('Enter');
  await (await buttonNamed(reader, 'Stop')).focus();
  await reader.keyboard.press('Enter');
  await until(reader, '.live-status', /Stopped/);
  const focused = await reader.evaluate(() => document.activeElement.textContent);
  assert.equal(focused, 'Run', 'the focus goes to Run when Stop has gone');
}

async function writes_the_program_and_passes({ reader, board, origin, checkout }) {
  await open(board, `${origin}/`);
  await until(board, boardRow(BACKLOG), /not started/);
  await open(reader, origin + BACKLOG);
  await press(reader, 'Check');
  await until(reader, '.live-verdict', /not started/, RUN_MS);
  await save(checkout, WRONG);
  await until(reader, '.live-verdict', /✗ fail.*NOT/s, RUN_MS);
  await save(checkout, await solution(checkout));
  const saved = Date.now();
  await until(reader, '.live-verdict', /✓ pass/, RUN_MS);
  measured(`save to verdict: ${Date.now() - saved} ms`);
  await until(reader, 'section.live', /It has passed/);
  await until(board, boardRow(BACKLOG), /✓ passed/);
  assert.match(await text(board, 'section.live p'), /^1 of \d+ labs passed/);
}

async function runs_the_own_program({ reader, origin }) {
  await open(reader, origin + BACKLOG);
  await press(reader, 'Run');
  await runIsOver(reader);
  assert.match(await text(reader, '.live-figure figcaption'), /labs\/ch05_sockets/);
}

async function sees_what_the_compiler_says({ reader, origin, checkout }) {
  await open(reader, origin + BACKLOG);
  await save(checkout, WRONG);
  await until(reader, '.live-verdict', /✗ fail.*NOT/s, RUN_MS);
  await press(reader, 'Run');
  await until(reader, '.live-trouble', /does not compile.*mismatched types/s, RUN_MS);
  await save(checkout, await solution(checkout));
  await until(reader, '.live-verdict', /✓ pass/, RUN_MS);
}

async function has_many_tabs({ reader, origin }) {
  const tabs = [];
  try {
    for (let tab = 0; tab < MANY_TABS; tab += 1) {
      tabs.push(await reader.browserContext().newPage());
      tabs.at(-1).setDefaultTimeout(SOON_MS);
      await open(tabs.at(-1), origin + BACKLOG);
    }
    await press(tabs.at(-1), 'Check');
    await until(tabs.at(-1), '.live-verdict', /✓ pass/, RUN_MS);
  } finally {
    for (const tab of tabs) await tab.close();
  }
}

async function keeps_strangers_out({ reader, browser, origin }) {
  const others = await strangers();
  await open(reader, origin + HANDSHAKE);
  const before = await reader.evaluate(numberOfARun);
  const board = await reader.evaluate(boardAsText);
  try {
    for (const [name, place] of Object.entries(others.places)) {
      await strangerGetsNothing(browser, origin, name, place);
    }
  } finally {
    await others.close();
  }
  assert.equal(await reader.evaluate(numberOfARun), before + 1, 'a stranger has started a run');
  assert.equal(await reader.evaluate(boardAsText), board, 'a stranger has changed the board');
}

async function is_accessible_in_all_themes({ reader, board, origin }) {
  await open(reader, origin + HANDSHAKE);
  await press(reader, 'Check');
  await until(reader, '.live-verdict', /started|pass|fail/, RUN_MS);
  await press(reader, 'Run');
  await runIsOver(reader);
  await openAll(reader);
  await axeInAllThemes(reader, 'the panel, opened');
  await open(board, `${origin}/`);
  await openAll(board);
  await board.click('.live-board button:not([hidden])');
  await axeInAllThemes(board, 'the board, its dialog open');
  await board.keyboard.press('Escape');
  await axeInAllThemes(board, 'the board');
}

async function fits_a_narrow_screen({ reader, origin }) {
  await reader.setViewport({ width: NARROW, height: 900 });
  try {
    for (const page of [HANDSHAKE, '/']) {
      await open(reader, origin + page);
      if (page !== '/') {
        await press(reader, 'Run');
        await runIsOver(reader);
      }
      await openAll(reader);
      assert.deepEqual(await reader.evaluate(tooWide), [], `wider than ${NARROW} px on ${page}`);
    }
  } finally {
    await reader.setViewport({ width: 1280, height: 900 });
  }
}

async function resets_a_lab_and_keeps_the_file({ board, origin, checkout }) {
  await open(board, `${origin}/`);
  await openAll(board);
  await board.click(`${boardRow(BACKLOG)} button`);
  await board.waitForSelector('dialog[open]');
  assert.match(await text(board, 'dialog'), /kept/);
  await (await board.$('dialog button:last-child')).click();
  await until(board, 'section.live', /kept as labs\/ch05_sockets\/backlog\.kept-1\.rs/);
  const there = await fs.readFile(path.join(checkout.root, 'labs', BACKLOG_FILE), 'utf8');
  assert.match(there, /todo!/, 'the stub is back');
}

async function reads_the_book_without_any_complaint({ complaints }) {
  assert.deepEqual(complaints, [], 'the console of the browser');
}

async function says_that_the_server_is_gone({ reader, origin, server }) {
  await open(reader, origin + HANDSHAKE);
  await server.end();
  await until(reader, 'section.live', /does not answer.*cargo lab serve/s);
  await press(reader, 'Run');
  await until(reader, 'section.live > [role=alert]:not(:empty)', /does not answer/);
}

const STEPS = [
  reads_the_page, predicts_and_is_remembered, runs_the_reference, sees_the_first_event_at_once,
  chooses_what_runs, cuts_the_wire_by_hand, is_told_of_a_wrong_rule,
  stops_a_run_and_keeps_the_focus, writes_the_program_and_passes, runs_the_own_program,
  sees_what_the_compiler_says, has_many_tabs, keeps_strangers_out, is_accessible_in_all_themes,
  fits_a_narrow_screen, resets_a_lab_and_keeps_the_file, reads_the_book_without_any_complaint,
  says_that_the_server_is_gone,
];

// ---- What the steps do again and again.

/** Loads a page; on a lab's and on the first one waits for its live part. */
async function open(tab, url) {
  // A tab in the background draws no frame, and nothing can be clicked there.
  await tab.bringToFront();
  await tab.goto(url, { waitUntil: 'load' });
  await tab.waitForSelector('section.live button, section.live tbody tr, .predict, p.live');
  if (/ch\d\d/.test(url)) await buttonNamed(tab, 'Run');
  if (url.endsWith('/')) await tab.waitForSelector('.live-board tbody tr');
}

async function text(tab, selector) {
  return (await tab.$eval(selector, (node) => node.textContent)).trim();
}

/** Waits until the element's text matches; says what it was if it does not. */
async function until(tab, selector, pattern, timeout = SOON_MS) {
  const matches = (where, source, flags) => {
    const said = document.querySelector(where)?.textContent ?? '';
    return new RegExp(source, flags).test(said);
  };
  const args = [selector, pattern.source, pattern.flags];
  await tab.waitForFunction(matches, { timeout, polling: 50 }, ...args).catch(async () => {
    const said = await tab.$eval(selector, (node) => node.textContent).catch(() => 'no such element');
    throw new Error(`${selector} does not say ${pattern} after ${timeout} ms, but: ${said}`);
  });
}

async function buttonNamed(tab, name) {
  const matches = (wanted) => [...document.querySelectorAll('.live button')]
    .find((one) => one.checkVisibility() && one.textContent === wanted);
  const found = await tab.waitForFunction(matches, { polling: 20 }, name)
    .catch(() => { throw new Error(`there is no button ${name}`); });
  return found.asElement();
}

async function press(tab, name) {
  await (await buttonNamed(tab, name)).click();
}

/** The control of a label. */
async function labelled(tab, name) {
  const found = await tab.evaluateHandle((wanted) => [...document.querySelectorAll('.live label')]
    .find((label) => label.textContent.trim() === wanted)?.control, name);
  assert.ok(found.asElement(), `there is no field ${name}`);
  return found.asElement();
}

async function fill(tab, name, value) {
  const control = await labelled(tab, name);
  await control.evaluate((input) => { input.value = ''; });
  await control.type(value);
}

async function runIsOver(tab) {
  await until(tab, '.live-status', /^[✓✗]/, RUN_MS);
}

/** Of the board on the first page, the row of the lab that has this page. */
function boardRow(page) {
  return `.live-board tr:has(a[href="${page}"])`;
}

/** As editors save: a new file, and a rename. */
async function save(checkout, words) {
  const file = path.join(checkout.root, 'labs', BACKLOG_FILE);
  await fs.writeFile(`${file}~`, words);
  await fs.rename(`${file}~`, file);
}

function solution(checkout) {
  return fs.readFile(path.join(checkout.root, 'solutions', BACKLOG_FILE));
}

async function openAll(tab) {
  await tab.evaluate(() => {
    for (const details of document.querySelectorAll('details')) details.open = true;
  });
}

async function axeInAllThemes(tab, what) {
  await startAxe(tab);
  for (const theme of THEMES) {
    await tab.evaluate(setTheme, theme);
    const found = await tab.evaluate(violations);
    assert.deepEqual(found, [], `${what} (${theme})`);
  }
}

/** Nothing read, and each request to the API refused, if it was sent at all. */
async function strangerGetsNothing(browser, origin, name, place) {
  const context = await browser.createBrowserContext();
  const tab = await context.newPage();
  const letIn = [];
  tab.on('response', (response) => {
    const { pathname } = new URL(response.url());
    const api = response.url().startsWith(origin) && pathname.startsWith('/api/');
    if (api && response.status() < 400) letIn.push(`${response.status()} ${pathname}`);
  });
  await tab.goto(place, { waitUntil: 'load' });
  assert.deepEqual(await tab.evaluate(attack, origin, 'handshake'), [], `from ${name}`);
  assert.deepEqual(letIn, [], `answered, from ${name}`);
  const framed = tab.frames().map((frame) => frame.url()).filter((url) => url.startsWith(origin));
  assert.deepEqual(framed.filter((url) => !url.includes('/api/')), [], `framed, from ${name}`);
  await context.close();
}

// ---- In the page.

/** Notes the milliseconds from the next click to the first line of the log. */
function timeTheFirstLine() {
  let clicked = 0;
  addEventListener('click', (event) => { clicked = event.timeStamp; }, { once: true, capture: true });
  globalThis.firstLine = NaN;
  const log = document.querySelector('.live-log');
  new MutationObserver((_, observer) => {
    if (!clicked || log.childElementCount === 0) return;
    // Of this run, and not of the one before, which is taken away first.
    requestAnimationFrame(() => { globalThis.firstLine ||= performance.now() - clicked; });
    observer.disconnect();
  }).observe(log, { childList: true });
}

/** Starts a run as the page itself does; its number. */
async function numberOfARun() {
  const { token, lab } = JSON.parse(document.querySelector('meta[name=lab]').content);
  const response = await fetch('/api/run', {
    method: 'POST',
    headers: { 'X-Lab-Token': token, 'X-Lab-Page': 'e2e', 'Content-Type': 'application/json' },
    body: JSON.stringify({
      lab, subject: 'solution', profile: null, take: null, seed: null, rules: [], values: [],
      syscalls: false,
    }),
  });
  return Number(/"run":\s*(\d+)/.exec(await response.text())[1]);
}

async function boardAsText() {
  const { token } = JSON.parse(document.querySelector('meta[name=lab]').content);
  const headers = { 'X-Lab-Token': token, 'X-Lab-Page': 'e2e' };
  return (await fetch('/api/labs', { headers })).text();
}

/** What of the live part reaches over the right edge. */
function tooWide() {
  const parts = [document.documentElement, ...document.querySelectorAll('.live, .live *')];
  return parts.filter((node) => node.scrollWidth > node.clientWidth + 1
      && getComputedStyle(node).display !== 'inline' && node.clientWidth > 0
      && !node.closest('svg, pre, .table-wrapper, select, input'))
    .map((node) => `${node.localName}.${node.className}`);
}

// ---- The whole.

function measured(words) {
  console.log(`          ${words}`);
}

/** A tab whose complaints are kept, except for those that a step is about. */
async function tabOf(browser, complaints) {
  const context = await browser.createBrowserContext();
  const tab = await context.newPage();
  await tab.setViewport({ width: 1280, height: 900 });
  tab.setDefaultTimeout(SOON_MS);
  tab.on('pageerror', (err) => complaints.push(err.message));
  tab.on('console', (message) => {
    // What is refused is what a step is about.
    const expected = /status of 4\d\d/.test(message.text());
    if (message.type() === 'error' && !expected) complaints.push(message.text());
  });
  return tab;
}

async function within(limit, promise) {
  let late;
  const over = new Promise((_, fail) => {
    late = setTimeout(() => fail(new Error(`not over after ${limit} ms`)), limit);
  });
  return Promise.race([promise, over]).finally(() => clearTimeout(late));
}

async function take(steps, world) {
  for (const step of steps) {
    const started = Date.now();
    try {
      await within(STEP_MS, step(world));
      console.log(`ok      ${step.name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    } catch (err) {
      console.log(`NOT ok  ${step.name}\n${err.stack}`);
      return 1;
    }
  }
  return 0;
}

async function main(names) {
  const unknown = names.find((name) => !STEPS.some((step) => step.name === name));
  if (unknown) throw new Error(`no step ${unknown}: ${STEPS.map((step) => step.name).join(', ')}`);
  const checkout = await freshCheckout();
  const server = await serve(checkout);
  const { browser, close } = await startBrowser();
  try {
    const complaints = [];
    const reader = await tabOf(browser, complaints);
    const board = await reader.browserContext().newPage();
    board.setDefaultTimeout(SOON_MS);
    const { origin } = server;
    const steps = STEPS.filter(({ name }) => names.length === 0 || names.includes(name));
    return await take(steps, { reader, board, browser, origin, server, checkout, complaints });
  } finally {
    await close();
    await server.end();
  }
}

main(process.argv.slice(2)).then((code) => { process.exitCode = code; }, (err) => {
  console.error(err);
  process.exitCode = 1;
});
