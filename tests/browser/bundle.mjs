// What is published is checked with tools of others: the signature by a JOSE library, the wasm by node's own engine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import vm from 'node:vm';
import { brotliCompressSync } from 'node:zlib';
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, generalVerify, importJWK } from 'jose';
import { publish } from './lib/peerage.mjs';
import { removeFolder, temporaryFolder } from './lib/processes.mjs';
import { writeSite } from './lib/site.mjs';

const folder = temporaryFolder('site');
const beside = temporaryFolder('beside');
writeSite(folder, { 'a.bin': 300_000, 'b/c.txt': 'text' });
await publish(folder, beside);
const published = name => readFileSync(path.join(folder, name));

/** The constants at the head of the worker script. */
const constants = vm.runInNewContext(`${/^const PEERAGE = .*$/m.exec(published('peerage-sw.js').toString())[0]}; PEERAGE`);

test.after(() => {
  removeFolder(folder);
  removeFolder(beside);
});

test('the root is a JWS that an independent library verifies with the key in the worker script', async () => {
  const root = published('peerage/root.jws').toString().trim();
  assert.ok(root.length <= 1024, `the root has ${root.length} bytes`);
  assert.equal(decodeProtectedHeader(root).alg, 'ES256');
  const key = await importJWK({ ...constants.key }, 'ES256');
  const { payload } = await compactVerify(root, key);
  const claims = JSON.parse(Buffer.from(payload).toString());
  assert.equal(claims.site, constants.site);
  const [head, body, signature] = root.split('.');
  const forged = Buffer.from(JSON.stringify({ ...claims, version: claims.version + 1 })).toString('base64url');
  await assert.rejects(compactVerify([head, forged, signature].join('.'), key));
  await assert.doesNotReject(compactVerify([head, body, signature].join('.'), key));
});

test('the site id is the RFC 7638 thumbprint of the first key', async () => {
  assert.equal(constants.site, await calculateJwkThumbprint({ ...constants.key }));
});

test('a link between keys is a JWS that an independent library verifies with both of them', async () => {
  const before = published('peerage-sw.js');
  await publish(folder, beside, { args: ['--new-key', path.join(beside, 'next.key.pem')] });
  assert.deepEqual(published('peerage-sw.js'), before);
  const { payload, signatures } = JSON.parse(published('peerage/keys/2.json'));
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  assert.deepEqual([claims.site, claims.number], [constants.site, 2]);
  const [old, next] = await Promise.all([constants.key, claims.key].map(jwk => importJWK({ ...jwk }, 'ES256')));
  const [byOld, byNext] = signatures.map(signature => ({ payload, signatures: [signature] }));
  await generalVerify(byOld, old);
  await generalVerify(byNext, next);
  await assert.rejects(generalVerify(byOld, next));
  await compactVerify(published('peerage/root.jws').toString().trim(), next);
});

test('the wasm imports nothing but its own glue, and stays small', context => {
  const wasm = published(constants.wasm.url);
  const modules = new Set(WebAssembly.Module.imports(new WebAssembly.Module(wasm)).map(({ module }) => module));
  assert.ok(!modules.has('env'), 'the wasm imports from "env"');
  assert.ok(modules.size <= 1, `the wasm imports from ${[...modules]}`);
  const text = wasm.toString('latin1');
  for (const place of ['.cargo/registry', 'registry/src', `${process.env.HOME}/`].filter(place => place.length > 2)) {
    assert.ok(!text.includes(place), `the wasm says where it was built: ${place}`);
  }
  context.diagnostic(`wasm: ${wasm.length} bytes raw, ${brotliCompressSync(wasm).length} brotli`);
  assert.ok(wasm.length <= 429 * 1024, `the wasm has ${wasm.length} bytes`);
});

test('every published script parses', context => {
  const scripts = ['peerage-sw.js', ...readdirSync(path.join(folder, 'peerage')).filter(name => name.endsWith('.js')).map(name => `peerage/${name}`)];
  assert.ok(scripts.length >= 3, `only ${scripts}`);
  for (const script of scripts) {
    execFileSync(process.execPath, ['--check', path.join(folder, script)], { stdio: 'pipe' });
    context.diagnostic(`${script}: ${published(script).length} bytes raw, ${brotliCompressSync(published(script)).length} brotli`);
  }
});
