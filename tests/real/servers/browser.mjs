// A user with a real browser, without a screen: opens an address, types a name and a password, agrees, and tells where the
// browser ends up.
//
//   node browser.mjs CHROMIUM 'http://127.0.0.1:4000/auth?...'
//
// Prints one line of JSON: the last address, its text, and all addresses in the tab's history. Speaks the browser's debugging
// protocol over a pipe, so that it needs no port and no package. Ends the browser whatever happens, after a minute at most.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [program, address] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'login-browser-'));
const browser = spawn(program, [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe',
  `--user-data-dir=${profile}`,
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });

let number = 0;
let rest = '';
const waiting = new Map();
browser.stdio[4].on('data', (data) => {
  const messages = (rest + data).split('\0');
  rest = messages.pop();
  for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
    waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
    waiting.delete(id);
  }
});
browser.stdio[3].on('error', () => {});
const send = (method, params = {}, sessionId = undefined) => new Promise((settle) => {
  number += 1;
  waiting.set(number, settle);
  browser.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
});

const end = (code) => {
  browser.once('exit', () => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    process.exit(code);
  });
  browser.kill('SIGKILL');
};
setTimeout(() => { console.error('the browser did not get to the last page in time'); end(1); }, 60_000);

const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
const page = (method, params) => send(method, params, sessionId);
const evaluate = async (expression) => (await page('Runtime.evaluate', { expression, returnByValue: true })).result.value;
await page('Page.enable');
await page('Page.navigate', { url: address });

let last = '';
for (;;) {
  // What is on the page, once it is there; between two pages there is nothing to ask.
  const found = await evaluate(`document.readyState !== 'complete' ? null : {
    address: location.href, prompt: document.querySelector('[name=prompt]')?.value, text: document.body?.innerText }`).catch(() => null);
  if (found?.address.includes('/login-finished')) {
    const { entries } = await page('Page.getNavigationHistory');
    console.log(JSON.stringify({ ...found, history: entries.map(({ url }) => url) }));
    end(0);
    break;
  }
  if (found?.prompt && found.address !== last) {
    last = found.address;
    if (found.prompt === 'login') {
      await evaluate("document.querySelector('[name=login]').focus()");
      await page('Input.insertText', { text: 'alice' });
      await evaluate("document.querySelector('[name=password]').focus()");
      await page('Input.insertText', { text: 'correct horse' });
    }
    await evaluate("document.querySelector('[type=submit]').click()");
  }
  await new Promise((over) => { setTimeout(over, 100); });
}
