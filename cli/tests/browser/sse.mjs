// Tests of the page's reader of event streams.
//
// Usage: node --test cli/tests/browser/sse.mjs

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reader } from '../../src/serve/page/sse.js';

const STREAM = ': hello\r\nevent: line\r\ndata: {"a":1}\r\n\r\nevent:end\ndata:x\ndata: y\n\n'
  + 'data\r\rid: 7\n\nevent: é\ndata:  two: colons: \n\n';
const SAID = [
  { event: 'line', data: '{"a":1}' },
  { event: 'end', data: 'x\ny' },
  { event: 'message', data: '' },
  { event: 'é', data: ' two: colons: ' },
];

test('a stream in one piece', () => {
  assert.deepEqual(reader()(STREAM), SAID);
});

test('a stream cut anywhere', () => {
  for (let at = 0; at <= STREAM.length; at += 1) {
    const read = reader();
    const heard = [...read(STREAM.slice(0, at)), ...read(STREAM.slice(at))];
    assert.deepEqual(heard, SAID, `cut at ${at}`);
  }
});

test('a stream letter by letter', () => {
  const read = reader();
  assert.deepEqual([...STREAM].flatMap((letter) => read(letter)), SAID);
});

test('what has not ended is no message', () => {
  assert.deepEqual(reader()('event: line\ndata: 1\n'), []);
});

test('an event without data is none, and leaves nothing behind', () => {
  assert.deepEqual(reader()('event: line\n\ndata: 1\n\n'), [{ event: 'message', data: '1' }]);
});
