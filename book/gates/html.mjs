// Gate `html`: the W3C's HTML checker finds no error in any document, nor in
// the drawings inside. It is `vnu-jar`: it knows HTML, SVG and ARIA as they are
// today, it comes from npm, and it runs here without asking anybody.

import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const JAR = createRequire(import.meta.url).resolve('vnu-jar/build/dist/vnu.jar');

export async function html({ book }) {
  const documents = [...book.documents.keys()];
  const { stdout } = await promisify(execFile)('java', [
    '-jar', JAR, '--format', 'json', '--exit-zero-always', '--stdout',
    ...documents.map((file) => path.join(book.root, file)),
  ], { maxBuffer: 1 << 28 });

  const { messages, version } = JSON.parse(stdout);
  const where = ({ url, lastLine }) => (
    url ? `${path.relative(book.root, fileURLToPath(url))}:${lastLine}` : 'the checker itself');
  const offenders = messages.filter(({ type }) => type !== 'info')
    .map((message) => ({ where: where(message), what: message.message }));
  const warnings = messages.filter(({ subType }) => subType === 'warning').length;
  const figures = `${offenders.length} errors and ${warnings} warnings in `
    + `${documents.length} documents, vnu ${version.split(' ')[0]}`;
  return { figures, offenders };
}
