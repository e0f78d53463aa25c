// A built book: its files, its pages, and a server for it on 127.0.0.1.

import fs from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

/** mdBook's own files beside the pages. Nobody is led to them by the contents. */
const HELPERS = ['print.html', 'toc.html', '404.html'];

/**
 * The book in `dir`. `files` are all its files, `documents` the HTML files with
 * their text, `pages` the documents that a reader reads; all relative to `dir`.
 */
export async function openBook(dir) {
  const root = path.resolve(dir);
  const entries = await fs.readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();

  const documents = new Map();
  for (const file of files.filter((name) => name.endsWith('.html'))) {
    documents.set(file, await fs.readFile(path.join(root, file), 'utf8'));
  }
  const pages = [...documents.keys()]
    .filter((file) => !HELPERS.includes(file) && !isRedirect(documents.get(file)));
  if (pages.length === 0) throw new Error(`${root} is not a built book: no page in it`);

  const server = await serve(root);
  const origin = `http://127.0.0.1:${server.address().port}/`;
  return {
    root, files, documents, pages, origin,
    /** Where the page is on the server. */
    url: (page) => new URL(page, origin).href,
    /** Where the page is on the disk. */
    fileUrl: (page) => pathToFileURL(path.join(root, page)).href,
    close: () => new Promise((done) => { server.closeAllConnections(); server.close(done); }),
  };
}

/** Whether the document only sends its reader elsewhere. */
export function isRedirect(text) {
  return /<meta\s+http-equiv="refresh"/i.test(text.slice(0, 2000));
}

/** A server of the files below `root`, on a port that the kernel chooses. */
async function serve(root) {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://127.0.0.1');
    const file = path.join(root, decodeURIComponent(pathname));
    try {
      const body = await fs.readFile(file.endsWith('/') ? `${file}index.html` : file);
      response.writeHead(200, {
        'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream',
        'content-length': body.length,
      });
      response.end(body);
    } catch {
      response.writeHead(404, { 'content-length': 0 });
      response.end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}
