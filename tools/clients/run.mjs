/**
 * Real clients from other people's hands on their journeys through a started server:
 * `npm run test:clients`. Needs Python 3 with venv, and PyPI the first time.
 *
 * Mastodon.py (the library) and toot (the terminal client) are installed in the versions of
 * requirements.txt into a virtual environment below node_modules/.cache. Their warnings are errors.
 * What a person does in a browser, logging in and letting the client in, is done here with the
 * pages' own forms. masto.js has its journey in services/standalone/test/masto.int.test.ts.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { authorizeAt, Browser, signUp, startTestServer } from '../../libs/testing/dist/index.js';

const here = dirname(fileURLToPath(import.meta.url));
const environment = join(here, '../../node_modules/.cache/dmb-clients');
const bin = join(environment, 'bin');

function install() {
  const wanted = readFileSync(join(here, 'requirements.txt'), 'utf8');
  const stamp = join(environment, 'installed.txt');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(environment, { recursive: true, force: true });
  mkdirSync(dirname(environment), { recursive: true });
  for (const [command, ...args] of [
    ['python3', '-m', 'venv', environment],
    [join(bin, 'pip'), 'install', '--quiet', '--disable-pip-version-check', '-r', join(here, 'requirements.txt')],
  ]) {
    const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
  }
  writeFileSync(stamp, wanted);
}

/** Runs a program to its end; `onLine` hears each line of its output and may answer on its input. */
function run(command, args, { env = {}, input, onText } = {}) {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME, LANG: 'C.UTF-8', ...env } });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      Promise.resolve(onText?.(stdout, child.stdin)).catch((error) => {
        child.kill();
        failed(error);
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.stdin.on('error', () => undefined);
    if (input !== undefined) child.stdin.end(input);
    child.once('error', failed);
    child.once('close', (code) => done({ code, stdout, stderr }));
  });
}

/** Python with every warning as an error. */
const strict = ['-W', 'error'];

async function mastodonPy(server) {
  const member = await signUp(server.url, 'py_owner');
  const child = spawn(join(bin, 'python'), [...strict, join(here, 'mastodon_py.py'), server.url], { stdio: ['pipe', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^AUTHORIZE (\S+)$/.exec(line)?.[1];
    if (address === undefined) console.log(`  ${line}`);
    else child.stdin.write(`${await authorizeAt(new Browser(server.url), address, member)}\n`);
  }
  const code = child.exitCode ?? (await new Promise((done) => child.once('exit', done)));
  if (code !== 0) throw new Error(`Mastodon.py ended with ${code}`);
}

async function toot(server) {
  const config = mkdtempSync(join(tmpdir(), 'dmb-toot-'));
  const env = { XDG_CONFIG_HOME: config, BROWSER: 'true', PYTHONWARNINGS: 'error', TERM: 'dumb', NO_COLOR: '1' };
  const program = join(bin, 'toot');
  /** Output of one command; anything on its error output is a failure. */
  const call = async (...args) => {
    const { code, stdout, stderr } = await run(join(bin, 'python'), [...strict, program, '--no-color', ...args], { env, input: '' });
    if (code !== 0 || stderr !== '') throw new Error(`toot ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    const [command, detail] = args[0] === '--as' ? args.slice(2) : args;
    console.log(`  toot ${command}${command === 'timelines' || command === 'follow-requests' ? ` ${detail}` : ''}`);
    return stdout;
  };
  const json = async (...args) => JSON.parse(await call(...args, '--json'));
  const assert = (holds, what) => {
    if (!holds) throw new Error(`toot: ${what}`);
  };
  const logIn = async (member) => {
    let asked = false;
    const { code, stdout, stderr } = await run(join(bin, 'python'), [...strict, program, '--no-color', 'login', '-i', server.url], {
      env,
      onText: async (text, stdin) => {
        const address = /Login URL:\s+(\S+)\s/.exec(text)?.[1];
        if (asked || address === undefined) return;
        asked = true;
        stdin.write(`n\n${await authorizeAt(new Browser(server.url), address, member)}\n`);
      },
    });
    if (code !== 0 || stderr !== '' || !stdout.includes('Successfully logged in')) throw new Error(`toot login ended with ${code}: ${stderr}${stdout}`);
    console.log(`  toot login as ${member.handle}`);
  };
  /** Asks until it is so: what happens to others arrives a moment later. */
  const until = async (what, isSo) => {
    for (let turn = 0; turn < 10; turn++) if (await isSo()) return;
    assert(false, what);
  };

  try {
    const tom = await signUp(server.url, 'tom');
    const pia = await signUp(server.url, 'pia');
    await logIn(tom);
    await logIn(pia);
    const asTom = (...args) => call('--as', `tom@localhost:${server.port}`, ...args);
    const asPia = (...args) => call('--as', `pia@localhost:${server.port}`, ...args);
    assert((await call('auth')).includes('pia@'), 'auth lists both accounts');
    assert((await call('whoami')).includes('@pia'), 'whoami');
    assert((await call('instance')).includes(`localhost:${server.port}`), 'instance');
    assert((await asPia('whois', 'tom')).includes('@tom'), 'whois');

    const post = await json('--as', `tom@localhost:${server.port}`, 'post', 'Hello from toot @pia #hello', '--language', 'en');
    assert(post.url === `${server.url}/@tom/${post.id}`, 'a post has its address');
    assert((await asTom('post', 'just text', '--visibility', 'unlisted')).includes(server.url), 'the address is shown');
    const reply = await json('--as', `pia@localhost:${server.port}`, 'post', '@tom hello', '--reply-to', post.id);
    assert(reply.in_reply_to_id === post.id, 'a reply');
    assert((await asTom('thread', reply.id)).includes('Hello from toot'), 'a thread');
    assert((await asTom('status', post.id)).includes('Hello from toot'), 'a status');
    assert((await asPia('search', '@tom', '--resolve')).includes('@tom'), 'a search');

    assert((await asPia('follow', 'tom')).includes('now following'), 'follow');
    await until('tom is told', async () => (await asTom('notifications')).includes('@pia'));
    assert((await asTom('followers')).includes('@pia') && (await asPia('following')).includes('@tom'), 'lists of follows');
    const late = await json('--as', `tom@localhost:${server.port}`, 'post', 'for followers', '--visibility', 'private');
    await until('pia has it at home', async () => (await asPia('timelines', 'home', '--no-pager')).includes('for followers'));
    assert((await asPia('timelines', 'account', 'tom', '--no-pager', '--limit', '2')).includes('for followers'), 'timeline of an account');
    await asPia('timelines', 'public', '--no-pager', '--local');
    await asTom('delete', late.id);
    await until('it is gone', async () => !(await asPia('timelines', 'home', '--no-pager')).includes('for followers'));

    assert((await asTom('update-account', '--locked')).includes('updated'), 'update-account');
    assert((await asPia('unfollow', 'tom')).includes('no longer following'), 'unfollow');
    await asPia('follow', 'tom');
    await until('tom is asked', async () => (await asTom('follow-requests', 'list')).includes('pia'));
    await asTom('follow-requests', 'accept', 'pia');
    assert((await asPia('following')).includes('@tom'), 'accepted');
    await asTom('lists', 'list');
    await asTom('tags', 'followed');
    await call('logout', `pia@localhost:${server.port}`);
  } finally {
    rmSync(config, { recursive: true, force: true });
  }
}

install();
const server = await startTestServer();
let failed = 0;
try {
  for (const [name, journey] of Object.entries({ 'Mastodon.py': mastodonPy, toot })) {
    console.log(name);
    try {
      await journey(server);
      console.log(`${name}: ok`);
    } catch (error) {
      failed++;
      console.log(`${name}: FAILED\n${error.stack}`);
    }
  }
  if (server.stderr !== '') {
    failed++;
    console.log(`the server complained:\n${server.stderr}`);
  }
} finally {
  await server.dispose();
}
console.log(`${2 - Math.min(failed, 2)} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
