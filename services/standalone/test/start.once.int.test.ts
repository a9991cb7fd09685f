/**
 * Starting and stopping the program as a whole: what a person or a script at a terminal meets.
 *
 * Every refused start is held to the same: one sentence, no stack, an exit code that is not 0, no
 * process left, and a data folder in which every byte is what it was.
 */
import { createHash } from 'node:crypto';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { authorize, Browser, ClientError, formWith, freePort, isRunning, Journal, registerApp, requestToken, runProgram, signUp, startTestServer, TestClient, TestServer, textOf, type Ended, type TestServerOptions } from '@dmb/testing';

const root = resolve(import.meta.dirname, '../../..');
const servers = new Set<TestServer>();
let folder: string;

beforeEach(() => {
  // Named so that the next run removes what a killed one leaves.
  folder = mkdtempSync(join(realpathSync(tmpdir()), `dmb-server-${process.pid}-`));
});
afterEach(async () => {
  await Promise.all([...servers].map((server) => server.dispose()));
  servers.clear();
  rmSync(folder, { recursive: true, force: true });
});

async function started(options: TestServerOptions = {}): Promise<TestServer> {
  const server = await startTestServer(options);
  servers.add(server);
  return server;
}

/** Every file below a folder with a hash of its content. */
function contentOf(path: string): Record<string, string> {
  if (!existsSync(path)) return {};
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return Object.fromEntries(
    names.toSorted().map((name) => {
      const file = join(path, name);
      const stat = statSync(file, { throwIfNoEntry: false });
      if (stat === undefined || !stat.isFile()) return [name, stat?.isDirectory() === true ? 'folder' : 'other'];
      return [name, createHash('sha256').update(readFileSync(file)).digest('hex')];
    }),
  );
}

/** What every refused start has to be like; the sentence. */
function expectRefusal(ended: Ended, about: RegExp): void {
  const lines = ended.stderr.split('\n').filter((line) => line !== '');
  expect(lines, ended.stderr).toHaveLength(1);
  expect(lines[0]).toMatch(about);
  expect(lines[0]).toMatch(/^\S.*[.!?]$/);
  expect(ended.stderr).not.toMatch(/\bat .+:\d+:\d+|node:internal|^\s*throw /m);
  expect(ended.stdout).not.toContain('ready');
  expect(ended.signal).toBeNull();
  expect(ended.code).toBe(1);
}

/** Lets a start be refused while nothing in `data` may change. */
async function refused(environment: Readonly<Record<string, string>>, about: RegExp): Promise<void> {
  const data = environment['DMB_DATA'];
  const before = data === undefined ? {} : contentOf(data);
  const ended = await runProgram({ environment });
  expectRefusal(ended, about);
  expect(ended.left).toEqual([]);
  if (data !== undefined) expect(contentOf(data)).toEqual(before);
}

/** A folder that holds these files. */
function folderWith(files: Readonly<Record<string, string>>): string {
  const data = join(folder, 'data');
  mkdirSync(data);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(data, name, '..'), { recursive: true });
    writeFileSync(join(data, name), text);
  }
  return data;
}

async function listenOn(port: number): Promise<Server> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return server;
}

describe('a start', () => {
  it('makes a data folder, tells where it is ready, and shows a link that makes the operator', async () => {
    const server = await started();
    expect(server.toldUrl).toBe(server.url);
    expect(server.stderr).toBe('');
    expect(JSON.parse(readFileSync(join(server.data, 'dmb.json'), 'utf8'))).toMatchObject({ format: 1, domain: `localhost:${server.port}` });

    // Whoever opens the link signs up, confirms, and is the operator.
    const link = new URL(server.operatorLink ?? 'missing:');
    const browser = await becomeOperator(server, 'olga');
    expect((await browser.open('/operator')).status).toBe(200);

    // The link worked once; strangers are no operators; no further start shows one.
    const stranger = new Browser(server.url);
    expect(textOf((await stranger.open(link.pathname)).html)).toMatch(/does not work|used/i);
    expect((await stranger.open('/operator')).url).not.toMatch(/\/operator$/);
    await server.stop();
    await server.start();
    expect(server.operatorLink).toBeUndefined();
  });

  it('finds everything of the start before, and shows a new link while there is no operator', async () => {
    const server = await started();
    const ada = await signUp(server.url, 'ada');
    const post = await ada.client.post('kept');
    const first = server.operatorLink;
    const { stderr } = await server.stop();
    expect(stderr).toBe('');

    await server.start();
    expect(await ada.client.me()).toMatchObject({ id: ada.account.id, acct: 'ada' });
    expect((await ada.client.home()).map(({ id }) => id)).toEqual([post.id]);
    expect((await new TestClient(server.url).status(post.id)).content).toBe('<p>kept</p>');
    expect(server.operatorLink).toBeDefined();
    expect(server.operatorLink).not.toBe(first);
    expect(textOf((await new Browser(server.url).open(new URL(first ?? 'missing:').pathname)).html)).toMatch(/does not work/i);
  });

  it('survives being killed in the middle of making the data folder', async () => {
    const server = new TestServer(await freePort(), {});
    servers.add(server);
    for (const afterMs of [150, 500, 900, 1_400]) {
      server.launch();
      await sleep(afterMs);
      await server.kill();
    }
    await server.start();
    expect((await signUp(server.url, 'ada')).account.acct).toBe('ada');
  });

  it('says so when a variable is misspelled, and which one may be meant', async () => {
    const server = await started({ environment: { DMB_REGISTRATON: 'closed' } });
    // Before anything that may fail because of it, and below what is read last.
    expect(server.stdout).toMatch(/^Note: DMB_REGISTRATON is not a variable.*DMB_REGISTRATION[^]*^DMB is ready at[^]*^Note: DMB_REGISTRATON is not a variable/m);
  });

  it('runs beside another with its own port and folder', async () => {
    const [one, two] = await Promise.all([started(), started()]);
    const [ada, other] = await Promise.all([signUp(one.url, 'ada'), signUp(two.url, 'ada')]);
    await ada.client.post('on the first');
    expect(await other.client.home()).toEqual([]);
    expect(ada.account.url).toBe(`${one.url}/@ada`);
    expect(other.account.url).toBe(`${two.url}/@ada`);
    await one.stop();
    expect((await other.client.me()).acct).toBe('ada');
  });
});

describe('the end', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s answers what is in progress and stops Postgres too', async (signal) => {
    const server = await started();
    const [ada, ben] = await Promise.all([signUp(server.url, 'ada'), signUp(server.url, 'ben')]);
    await ben.client.follow(ada.account.id);
    const postgres = server.postgresPid ?? 0;
    expect(isRunning(postgres)).toBe(true);
    const stream = await ben.client.webSocket();
    const idle = await ben.client.eventStream();

    const journal = new Journal();
    let stopping = false;
    const lane = async (): Promise<void> => {
      while (!stopping) await journal.post(ada);
    };
    const lanes = [lane(), lane(), lane(), lane()];
    await sleep(300);
    const ended = server.stop(signal);
    stopping = true;
    // What was not accepted in time is repeated until the server is back.
    const { stdout, stderr } = await ended;
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^DMB is stopping: .*\nDMB has stopped\.\n$/m);
    expect(isRunning(postgres)).toBe(false);
    expect(stream.hasEnded).toBe(true);
    expect(idle.hasEnded).toBe(true);

    await server.start();
    await Promise.all(lanes);
    expect(journal.acknowledged.length).toBeGreaterThan(4);
    expect(journal.problemsIn(await ben.client.wholeHome(), ['ada'])).toEqual([]);
  });

  it('comes in order when a signal interrupts the start', async () => {
    const server = new TestServer(await freePort(), {});
    servers.add(server);
    for (const afterMs of [250, 800, 1_500]) {
      server.launch();
      await sleep(afterMs);
      server.signal('SIGTERM');
      const { code, signal } = await server.ended();
      // Before the program has begun, the signal ends it as it ends any other.
      expect(signal ?? code).toBe(signal === null ? 0 : 'SIGTERM');
      if (signal !== null) expect(existsSync(server.data)).toBe(false);
      expect(server.postgresPid).toBeUndefined();
    }
    await server.start();
  });

  it('reaches the server through npm', async () => {
    // Otherwise npm start would install first, and take the packages away under all other tests.
    const lock = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
    expect(readFileSync(join(root, 'node_modules/.dmb-lock-sha256'), 'utf8').trim(), 'npm test installs what is missing').toBe(lock);
    const port = await freePort();
    const { PATH = '', HOME = '/' } = process.env;
    const data = join(folder, 'data');
    const npm = spawn('npm', ['start', '--silent'], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH, HOME, DMB_DATA: data, DMB_HTTP_PORT: String(port) } });
    let output = '';
    for (const pipe of [npm.stdout, npm.stderr]) pipe.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = new Promise<number | null>((done) => npm.once('exit', (code) => done(code)));
    try {
      for (let waitedMs = 0; !output.includes('DMB is ready at') && npm.exitCode === null && waitedMs < 90_000; waitedMs += 50) await sleep(50);
      expect(output).toContain(`DMB is ready at http://localhost:${port}`);
      expect((await new TestClient(`http://localhost:${port}`).raw('GET', '/health/ready')).status).toBe(200);
      const postgres = Number(readFileSync(globSync(join(data, 'postgres/*/postmaster.pid'))[0] ?? '', 'utf8').split('\n')[0]);
      npm.kill('SIGTERM');
      await ended;
      await expect(fetch(`http://localhost:${port}/`)).rejects.toThrow();
      expect(isRunning(postgres)).toBe(false);
    } finally {
      npm.kill('SIGTERM');
      await ended;
    }
  });
});

describe('a Postgres that a killed server has left', () => {
  it('is replaced by the next start, which has everything that was acknowledged', async () => {
    const server = await started();
    const ada = await signUp(server.url, 'ada');
    const post = await ada.client.post('before the kill');
    const orphan = server.postgresPid ?? 0;
    await server.kill();
    expect(isRunning(orphan)).toBe(true);

    await server.start();
    expect(server.postgresPid).toBeDefined();
    // Stopped and replaced, or taken over: in no case two.
    if (server.postgresPid !== orphan) expect(isRunning(orphan)).toBe(false);
    expect((await ada.client.home()).map(({ id }) => id)).toEqual([post.id]);
    await server.stop();
    expect(isRunning(orphan)).toBe(false);
  });
});

describe('--help', () => {
  it('prints every variable that any service declares, once, and touches nothing', async () => {
    const declared = globSync(['services/*/src/config.ts', 'libs/runtime/src/server-settings.ts'], { cwd: root }).flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/\bname: '([A-Z][A-Z0-9_]+)'/g)].map(([, name = '']) => name));
    expect(declared).toEqual(expect.arrayContaining(['DMB_DOMAIN', 'DMB_HTTP_PORT', 'DMB_HTTP_HOST', 'DMB_DATA', 'DMB_REGISTRATION', 'DMB_TLS_CERT', 'DMB_TLS_KEY', 'DMB_TRUSTED_PROXIES', 'DATABASE_URL']));
    const { code, stdout, stderr, left } = await runProgram({ args: ['--help'], environment: { DMB_HTTP_PORT: 'wrong' } });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    for (const name of new Set(declared)) expect(stdout.match(new RegExp(`^\\s+${name}$`, 'gm')), name).toHaveLength(1);
    expect(left).toEqual([]);
  });

  it('is told of when an argument is not understood', async () => {
    expectRefusal(await runProgram({ args: ['--port=80'] }), /--port/);
  });
});

describe('a start is refused with one sentence', () => {
  it('when the port is taken', async () => {
    const port = await freePort();
    const other = await listenOn(port);
    try {
      await refused({ DMB_HTTP_PORT: String(port) }, new RegExp(`[Pp]ort ${port} is already in use.*DMB_HTTP_PORT`));
    } finally {
      other.close();
    }
  });

  it('when another server uses the data folder, which goes on undisturbed', async () => {
    const server = await started();
    const ada = await signUp(server.url, 'ada');
    const postgres = server.postgresPid;
    const ended = await runProgram({ environment: { DMB_DATA: server.data, DMB_DOMAIN: `localhost:${server.port}`, DMB_HTTP_PORT: String(await freePort()) } });
    expectRefusal(ended, /in use.*process \d+/);
    expect(server.postgresPid).toBe(postgres);
    expect((await ada.client.post('still here')).content).toBe('<p>still here</p>');
  });

  it('when the data folder is a file', async () => {
    const file = join(folder, 'data');
    writeFileSync(file, 'not a folder');
    expectRefusal(await runProgram({ environment: { DMB_DATA: file, DMB_HTTP_PORT: String(await freePort()) } }), /not a folder/);
    expectRefusal(await runProgram({ environment: { DMB_DATA: join(file, 'below'), DMB_HTTP_PORT: String(await freePort()) } }), /not a folder/);
    expect(readFileSync(file, 'utf8')).toBe('not a folder');
  });

  it('when the data folder cannot be written', async () => {
    const data = join(folder, 'closed');
    mkdirSync(data);
    // Permissions do not hold root off; a disk mounted for reading does.
    const mounted = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', data]).status === 0;
    try {
      if (!mounted) mkdirSync(join(data, 'data'), { mode: 0o500 });
      await refused({ DMB_DATA: mounted ? data : join(data, 'data'), DMB_HTTP_PORT: String(await freePort()) }, /cannot be (read and )?written/);
    } finally {
      if (mounted) spawnSync('umount', [data]);
    }
  });

  it.each([
    ['was made by a newer release', { 'dmb.json': '{"format":99,"domain":"localhost:1"}' }, /newer release/],
    ['was made with a newer Postgres', { 'postgres/99/PG_VERSION': '99\n' }, /newer.*Postgres 99/],
    ['was made with an older Postgres', { 'postgres/12/PG_VERSION': '12\n' }, /Postgres 12/],
    ['holds other things', { 'thesis.txt': 'years of work' }, /other things.*thesis\.txt.*DMB_DATA/],
    ['has a description that is no JSON', { 'dmb.json': '{"form' }, /damaged.*dmb\.json/],
    ['has a description of something else', { 'dmb.json': '{"name":"x"}' }, /damaged.*dmb\.json/],
  ])('when the data folder %s', async (_, files, about) => {
    await refused({ DMB_DATA: folderWith(files), DMB_HTTP_PORT: String(await freePort()) }, about);
  });

  it('when the data belong to another domain', async () => {
    const server = await started();
    await server.stop();
    await refused({ DMB_DATA: server.data, DMB_DOMAIN: 'example.org', DMB_HTTP_PORT: String(server.port) }, new RegExp(`belongs to the domain localhost:${server.port}.*example\\.org`));
    await server.start();
  });

  it.each([
    ['DMB_DOMAIN', 'not a domain'],
    ['DMB_DOMAIN', 'https://example.org/'],
    ['DMB_HTTP_PORT', 'eighty'],
    ['DMB_HTTP_PORT', '0'],
    ['DMB_HTTP_PORT', '65536'],
    ['DMB_HTTP_HOST', 'somewhere'],
    ['DMB_REGISTRATION', 'maybe'],
    ['DMB_TRUSTED_PROXIES', '10.0.0.0/99'],
    ['DMB_LOG_LEVEL', 'loud'],
    ['DATABASE_URL', 'mysql://localhost/x'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'no address'],
    ['DMB_TLS_CERT', '/nowhere/cert.pem'],
  ])('when %s is "%s"', async (name, value) => {
    await refused({ [name]: value }, new RegExp(name));
  });

  it('when a certificate does not exist, is none, or comes alone', async () => {
    const file = join(folder, 'cert.pem');
    writeFileSync(file, 'no certificate');
    const port = String(await freePort());
    await refused({ DMB_DOMAIN: 'example.org', DMB_HTTP_PORT: port, DMB_TLS_CERT: file }, /DMB_TLS_CERT and DMB_TLS_KEY/);
    await refused({ DMB_DOMAIN: 'example.org', DMB_HTTP_PORT: port, DMB_TLS_CERT: '/nowhere.pem', DMB_TLS_KEY: file }, /nowhere\.pem/);
    await refused({ DMB_DOMAIN: 'example.org', DMB_HTTP_PORT: port, DMB_TLS_CERT: file, DMB_TLS_KEY: file }, /DMB_TLS_CERT/);
  });

  it('when the database of one’s own cannot be reached, without telling its password', async () => {
    const port = await freePort();
    const ended = await runProgram({ environment: { DATABASE_URL: `postgresql://me:hunter2@127.0.0.1:${port}/dmb`, DMB_HTTP_PORT: String(await freePort()) } });
    expectRefusal(ended, /dmb at 127\.0\.0\.1/);
    expect(ended.stdout + ended.stderr).not.toContain('hunter2');
  });

  it('when nobody may listen at the address', async () => {
    await refused({ DMB_HTTP_HOST: '203.0.113.7', DMB_HTTP_PORT: String(await freePort()) }, /203\.0\.113\.7.*DMB_HTTP_HOST/);
  });

  it('and several wrong values get a sentence each', async () => {
    const { code, stderr } = await runProgram({ environment: { DMB_HTTP_PORT: 'x', DMB_REGISTRATION: 'y' } });
    expect(code).toBe(1);
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines.join(' ')).toMatch(/DMB_HTTP_PORT.*DMB_REGISTRATION|DMB_REGISTRATION.*DMB_HTTP_PORT/);
  });
});

/** Signs up at the page that the one-time link leads to, and becomes the operator. */
async function becomeOperator(server: TestServer, handle: string): Promise<Browser> {
  const browser = new Browser(server.url);
  const link = new URL(server.operatorLink ?? 'missing:');
  expect(link.origin).toBe(server.url);
  const invitation = await browser.open(link.pathname);
  const page = await browser.open(/href="(\/sign-up[^"]*)"/.exec(invitation.html)?.[1]?.replaceAll('&amp;', '&') ?? '');
  const next = await browser.submit(page, formWith(page, 'username', 'password'), { username: handle, password: 'one two three' });
  const confirm = next.forms.find(({ action }) => action.includes('/operator/'));
  expect((confirm === undefined ? next : await browser.submit(next, confirm)).status).toBe(200);
  return browser;
}

describe('registration', () => {
  it('is closed when the operator has said so', async () => {
    const server = await started({ environment: { DMB_REGISTRATION: 'closed' } });
    const refusal: unknown = await signUp(server.url, 'ada').catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ClientError);
    expect((refusal as ClientError).status).toBe(403);
    expect(await new TestClient(server.url).get('/api/v2/instance')).toMatchObject({ registrations: { enabled: false } });
    // But not to who has the link: somebody must be the first.
    const operator = await becomeOperator(server, 'olga');
    expect((await operator.open('/operator')).status).toBe(200);
  });

  it('waits for the operator, who approves one and rejects another', async () => {
    const server = await started({ environment: { DMB_REGISTRATION: 'approval' } });
    const operator = await becomeOperator(server, 'olga');
    for (const handle of ['ada', 'eve']) {
      const browser = new Browser(server.url);
      const page = await browser.open('/sign-up');
      await browser.submit(page, formWith(page, 'username', 'password', 'reason'), { username: handle, password: 'one two three', reason: `I am ${handle}` });
      await expect(new TestClient(server.url).lookUp(handle)).rejects.toMatchObject({ status: 404 });
    }
    for (const decision of ['approve @ada', 'reject @eve']) {
      const page = await operator.open('/operator');
      const form = page.forms.find(({ buttons }) => buttons.some(({ text }) => text.toLowerCase() === decision));
      if (form === undefined) throw new Error(`there is no button "${decision}": ${textOf(page.html)}`);
      await operator.submit(page, form, {}, decision);
    }
    expect((await new TestClient(server.url).lookUp('ada')).acct).toBe('ada');
    await expect(new TestClient(server.url).lookUp('eve')).rejects.toMatchObject({ status: 404 });
    const app = await registerApp(server.url);
    const token = await requestToken(server.url, app, { grant_type: 'authorization_code', code: await authorize(new Browser(server.url), app, { handle: 'ada', password: 'one two three' }) });
    expect((await new TestClient(server.url, token.access_token).post('in at last')).content).toBe('<p>in at last</p>');
  });
});
