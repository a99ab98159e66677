// Checks that every crate in Cargo.lock and every npm package of the test suite has a licence that deny.toml allows,
// and that every crate comes from the public registry.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const root = new URL('..', import.meta.url);
const allowed = allowedLicences(readFileSync(new URL('deny.toml', root), 'utf8'));
const REGISTRY = 'registry+https://github.com/rust-lang/crates.io-index';

const metadata = JSON.parse(execFileSync('cargo', ['metadata', '--format-version=1', '--locked', '--all-features'], {
  cwd: root, encoding: 'utf8', maxBuffer: 256 << 20, stdio: ['ignore', 'pipe', 'inherit'],
}));
const lock = JSON.parse(readFileSync(new URL('package-lock.json', import.meta.url), 'utf8'));

const wrong = [];
for (const { name, version, license, source } of metadata.packages) {
  if (!acceptable(license)) wrong.push(`crate ${name} ${version}: licence ${license ?? 'not given'}`);
  if (source !== null && source !== REGISTRY) wrong.push(`crate ${name} ${version}: comes from ${source}`);
}
const npm = Object.entries(lock.packages).filter(([path]) => path !== '');
for (const [path, { version, license, resolved }] of npm) {
  if (!acceptable(license)) wrong.push(`npm ${path} ${version}: licence ${license ?? 'not given'}`);
  if (resolved !== undefined) wrong.push(`npm ${path}: package-lock.json records a download address`);
}

for (const line of wrong) console.error(line);
console.log(`${metadata.packages.length} crates and ${npm.length} npm packages looked at, ${wrong.length} not allowed`);
process.exitCode = wrong.length > 0 ? 1 : 0;

/** The `allow` list of deny.toml's `[licenses]`. */
function allowedLicences(toml) {
  const list = /\[licenses\][^[]*?allow = \[([^\]]*)\]/.exec(toml);
  if (list === null) throw new Error('deny.toml has no [licenses] allow list');
  return new Set([...list[1].matchAll(/"([^"]+)"/g)].map(match => match[1]));
}

/** Whether an SPDX expression (older crates write `/` for OR) can be met by allowed licences alone. */
function acceptable(expression) {
  if (typeof expression !== 'string') return false;
  const tokens = expression.replaceAll('/', ' OR ').match(/\(|\)|[^\s()]+/g) ?? [];
  const either = () => {
    let ok = both();
    while (tokens[0] === 'OR') { tokens.shift(); ok = both() || ok; }
    return ok;
  };
  const both = () => {
    let ok = one();
    while (tokens[0] === 'AND') { tokens.shift(); ok = one() && ok; }
    return ok;
  };
  const one = () => {
    if (tokens[0] === '(') {
      tokens.shift();
      const ok = either();
      return tokens.shift() === ')' && ok;
    }
    let name = tokens.shift() ?? '';
    if (tokens[0] === 'WITH') name += ` ${tokens.shift()} ${tokens.shift()}`;
    // Older npm packages write BSD for the clauses that they don't count.
    return name === 'BSD' ? allowed.has('BSD-2-Clause') && allowed.has('BSD-3-Clause') : allowed.has(name);
  };
  return either() && tokens.length === 0;
}
