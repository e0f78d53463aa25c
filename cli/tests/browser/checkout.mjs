// A copy of the checkout with a `lab` of its own, and that `lab serve`.
//
// The copy is the one of the learner's tests, so that it is built once.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'learner');
// What may hold files of an older checkout.
const FOLDERS = ['book', 'cli', 'labs', 'solutions', 'testbed', 'tests'];
const BUILT_MS = 20 * 60_000;
const SERVED_MS = 60_000;
const ENDED_MS = 10_000;

const run = promisify(execFile);

/** The checkout's files as they are now, built; nothing is begun in it. */
export async function freshCheckout() {
  const root = path.join(TARGET, 'checkout');
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(TARGET, 'target') };
  const { stdout } = await run('git', ['ls-files', '-z'], { cwd: ROOT, maxBuffer: 1 << 26 });
  const files = stdout.split('\0').filter(Boolean);
  await fs.rm(path.join(root, '.lab'), { recursive: true, force: true });
  for (const folder of FOLDERS) await removeOthers(root, folder, new Set(files));
  for (const file of files) await copyIfChanged(path.join(ROOT, file), path.join(root, file));
  await run('cargo', ['build', '--quiet', '--package', 'cli'], { cwd: root, env, timeout: BUILT_MS });
  return { root, env, lab: path.join(env.CARGO_TARGET_DIR, 'debug/lab') };
}

/** Kept copies, and what else an earlier test has left. */
async function removeOthers(root, folder, tracked) {
  const entries = await fs.readdir(path.join(root, folder), { recursive: true, withFileTypes: true })
    .catch(() => []);
  for (const entry of entries) {
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    if (!entry.isDirectory() && !tracked.has(path.relative(root, file))) await fs.rm(file);
  }
}

/** A new time stamp would have cargo build everything again. */
async function copyIfChanged(from, to) {
  const text = await fs.readFile(from).catch(() => null);
  const old = await fs.readFile(to).catch(() => null);
  if (!text || old?.equals(text)) return;
  await fs.mkdir(path.dirname(to), { recursive: true });
  await fs.writeFile(to, text);
}

/** `lab serve` in that checkout: where it is, and how it is ended. */
export async function serve({ root, env, lab }) {
  const child = spawn(lab, ['serve', '--port', '0'], { cwd: root, env });
  const ended = new Promise((done) => { child.once('exit', done); });
  const end = async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), ENDED_MS);
    await ended;
    clearTimeout(late);
  };
  let said = '';
  const address = new Promise((found, lost) => {
    const hear = (text) => {
      said += text;
      const [origin] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? [];
      if (origin) found(origin);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('error', lost);
    ended.then(() => lost(new Error(`lab serve has ended:\n${said}`)));
    setTimeout(() => lost(new Error(`lab serve names no address:\n${said}`)), SERVED_MS).unref();
  });
  try {
    return { origin: await address, end };
  } catch (err) {
    await end();
    throw err;
  }
}
