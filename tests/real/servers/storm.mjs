// Aims the storm at the pair, and compares what both sides counted.
//
//   node storm.mjs STORM_BINARY [SECONDS [THREADS [TTL]]]
//
// Prints one line. Exit status 0: all is well.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const [storm, seconds = '15', threads = '16', ttl = '2'] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const started = [];

async function start(script, options) {
  const child = spawn(process.execPath, ['--no-warnings', join(here, script), JSON.stringify(options)],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_ENV: 'production' } });
  started.push(child);
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return JSON.parse(line);
}

const issuer = await start('issuer.mjs', { ttl: Number(ttl) });
const control = async (action) => (await fetch(`${issuer.url}/control`, { method: 'POST', body: JSON.stringify({ action }) })).json();
const api = await start('api.mjs', { issuer: issuer.url, audience: issuer.audience });
const { refreshToken } = await control('login');

const run = spawn(storm, ['--json', '--seconds', seconds, '--threads', threads, '--token-url', `${issuer.url}/token`,
  '--api', `${api.url}/notes`, '--client-id', 'device', '--refresh-token', refreshToken], { stdio: ['ignore', 'pipe', 'inherit'] });
const [text, [code]] = await Promise.all([run.stdout.toArray(), once(run, 'close')]);
const own = JSON.parse(text.join('') || '{}');
const counts = await control('counts');
const calls = await (await fetch(`${api.url}/counts`)).json();
for (const child of started) child.kill();

const wrong = [];
const expect = (what, is, wanted) => { if (is !== wanted) wrong.push(`${what}: ${is} instead of ${wanted}`); };
expect('exit status of the storm', code, 0);
expect('failed calls', own.failed, 0);
expect('lost calls', own.lost, 0);
expect('token calls by the server, and refreshes by the session', counts.token, own.refreshes);
expect('of these, carried out', counts.ok.refresh_token, own.refreshes);
expect('refreshes that were not needed', counts.needless, 0);
expect('token calls at once', counts.atOnce, 1);
expect('errors at the token endpoint', JSON.stringify(counts.errors), '{}');
expect('calls answered by the API with 200, and by the count of the storm', calls['/notes 200'], own.answered);
expect('calls refused by the API, and replays by the session', calls['/notes 401'] ?? 0, own.replays);
console.log(`storm on real servers: ${own.seconds?.toFixed(1)} s, ${threads} threads, ttl ${ttl} s: ${own.answered} calls answered, `
  + `${own.refreshes} refreshes (server: ${counts.token}), ${own.replays} replays (server: ${calls['/notes 401'] ?? 0}), `
  + `longest wait ${own.longest_wait_ms?.toFixed(1)} ms`);
for (const fault of wrong) console.error(`storm on real servers: ${fault}`);
process.exit(wrong.length ? 1 : 0);
