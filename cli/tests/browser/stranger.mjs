// A page of somebody else, in the same browser, that tries to use the server.

import fs from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const PAGE = '<!DOCTYPE html><html lang="en"><title>elsewhere</title><body></body></html>';

/** The same page at another port, by another name of this machine, and on disk. */
export async function strangers() {
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE);
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'stranger-'));
  const file = path.join(folder, 'page.html');
  await fs.writeFile(file, PAGE);
  const { port } = server.address();
  return {
    places: {
      'another port': `http://127.0.0.1:${port}/`,
      'another site': `http://localhost:${port}/`,
      'a file': pathToFileURL(file).href,
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await fs.rm(folder, { recursive: true });
    },
  };
}

/**
 * In the stranger's page: tries everything that a page can, and answers with
 * what it got hold of: an empty list.
 */
export async function attack(origin, lab) {
  const order = JSON.stringify({ lab, subject: 'solution', rules: [], values: [] });
  const within = (promise) => Promise.race([
    promise, new Promise((done) => { setTimeout(done, 1500, 'nothing'); }),
  ]);
  const fetched = (name, url, options) => async () => {
    const response = await fetch(origin + url, options);
    return response.type === 'opaque' ? 'nothing' : `${name}: ${(await response.text()).slice(0, 80)}`;
  };
  const post = (type, headers = {}) => ({
    method: 'POST', body: order, headers: { 'Content-Type': type, ...headers },
  });

  const element = (tag, attributes, outcome) => () => new Promise((done) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.onload = () => done(outcome(node));
    node.onerror = () => done('nothing');
    document.body.append(node);
  });

  const form = (type) => async () => {
    const frame = Object.assign(document.createElement('iframe'), { name: `frame-${type}` });
    const sent = Object.assign(document.createElement('form'), {
      method: 'POST', action: `${origin}/api/run`, enctype: type, target: frame.name,
    });
    // As text/plain it is sent as NAME=VALUE, which is the order in JSON again.
    const field = Object.assign(document.createElement('input'), {
      name: `${order.slice(0, -1)},"x":"`, value: '"}',
    });
    sent.append(field);
    document.body.append(frame, sent);
    sent.submit();
    await new Promise((done) => { frame.onload = done; });
    return frame.contentDocument?.body.textContent ? 'a form: its answer' : 'nothing';
  };

  const events = () => new Promise((done) => {
    const source = new EventSource(`${origin}/api/saves`, { withCredentials: true });
    source.onopen = () => done('EventSource: open');
    source.onerror = () => { source.close(); done('nothing'); };
  });

  const attempts = [
    fetched('the page and its token', `/`, {}),
    fetched('the page, with CORS', '/', { mode: 'cors', credentials: 'include' }),
    fetched('the board', '/api/labs', {}),
    fetched('the board, opaque', '/api/labs', { mode: 'no-cors' }),
    fetched('the saves', '/api/saves', { mode: 'cors' }),
    fetched('a run', '/api/run', post('text/plain')),
    fetched('a run, opaque', '/api/run', { ...post('text/plain'), mode: 'no-cors' }),
    fetched('a run, JSON', '/api/run', post('application/json')),
    fetched('a run, a token', '/api/run', post('application/json', { 'X-Lab-Token': 'guess' })),
    fetched('a check, opaque', '/api/check', { ...post('text/plain'), mode: 'no-cors' }),
    fetched('a reset, opaque', '/api/reset', { ...post('text/plain'), mode: 'no-cors' }),
    fetched('the wire, opaque', '/api/run/1/wire', { ...post('text/plain'), mode: 'no-cors' }),
    async () => (navigator.sendBeacon(`${origin}/api/run`, order), 'nothing'),
    events,
    element('script', { src: `${origin}/api/labs` }, () => 'a script of the board'),
    element('script', { src: `${origin}/lab.js`, type: 'module' }, () => 'the module of the page'),
    element('img', { src: `${origin}/api/labs` }, () => 'an image'),
    element('iframe', { src: `${origin}/index.html` },
      (node) => (node.contentDocument ? 'a frame that can be read' : 'nothing')),
    form('text/plain'),
    form('application/x-www-form-urlencoded'),
  ];
  const got = await Promise.all(attempts.map((attempt) => within(attempt().catch(() => 'nothing'))));
  return got.filter((what) => what !== 'nothing');
}
