/**
 * What every npm script of the repository runs: install if needed, then do the work under the pinned Node.
 *
 * The machine may have any Node from 18 on; the repository's own Node is a package of the lockfile. So this file is
 * plain JavaScript without dependencies, and in this order it
 *   1. makes node_modules agree with package-lock.json. A finished install leaves the lockfile's hash in
 *      node_modules/.dmb-lock-sha256; when that differs, or is missing because an install was interrupted, `npm ci` runs;
 *   2. puts node_modules/.bin first in PATH, so that `node` is the pinned one for everything below;
 *   3. runs the task: start, cluster, move, move-shards, build, lint, test, test:unit, test:clients, bench or load, with the remaining arguments.
 *
 * Output of steps 1 and 2 goes to stderr; nothing ever asks a question. The exit code is that of the first step that
 * failed; a program ended by a signal gives 128 + the signal's number, as a shell does. The npm scripts say `exec node`
 * because npm signals only the shell it starts, and a shell in between would die and leave the server behind.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const binFolder = join(root, 'node_modules', '.bin');
const node = join(root, 'node_modules', 'node', 'bin', 'node');
const stamp = join(root, 'node_modules', '.dmb-lock-sha256');

/**
 * Flags of the running server: telemetry is preloaded, and V8 may keep 16 MiB for a half of the young generation where
 * it would take 32. After 9,000 pages of 20 posts that is 226 MB of resident memory for 364, at the same cost in CPU.
 */
const serverFlags = ['--enable-source-maps', '--max-semi-space-size=16', '--import', './libs/runtime/dist/preload.js'];
const serverProject = 'services/standalone/tsconfig.src.json';
const serverMain = 'services/standalone/dist/main.js';
const clusterProject = 'libs/testing/tsconfig.src.json';
const clusterMain = 'libs/testing/dist/cluster/main.js';

const compiler = 'node_modules/typescript-7/bin/tsc';
const nx = 'node_modules/nx/dist/bin/nx.js';
const eslint = 'node_modules/eslint/bin/eslint.js';
const vitest = 'node_modules/vitest/vitest.mjs';

const outerPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== binFolder);
const environment = {
  ...process.env,
  PATH: [binFolder, ...outerPath].join(delimiter),
  NX_DAEMON: 'false',
  NX_TUI: 'false',
};

/**
 * Runs a program in the root folder and answers its exit code. Signals sent to this process are passed on, and this
 * process stays until the program has ended. Ctrl-C at a terminal is the exception: the terminal itself sends it to
 * the whole process group, and a second copy would look like the impatient second Ctrl-C.
 */
function run(command, args, { env = environment, stdio = 'inherit' } = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: root, env, stdio });
    const forward = (signal) => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const end = (code) => {
      for (const signal of signals) process.off(signal, forward);
      done(code);
    };
    child.on('error', (error) => {
      console.error(`cannot run ${command}: ${error.message}`);
      end(127);
    });
    child.on('exit', (code, signal) => end(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

/** Runs a script under the pinned Node. */
const runNode = (args, options) => run(node, args, options);

async function install() {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === hash && existsSync(node)) return 0;
  console.error('node_modules is not what package-lock.json says: running npm ci');
  // npm ci empties node_modules: it must not itself run on the Node inside. Development and platform packages are
  // part of every install (the compiler, Node and Postgres are such), whatever NODE_ENV says.
  const env = { ...process.env, PATH: outerPath.join(delimiter), npm_config_yes: 'true' };
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const code = await run('npm', args, { env, stdio: ['ignore', 2, 2] });
  if (code !== 0) return code;
  if (!existsSync(node)) {
    console.error('The package "node" left no binary: npm must be allowed to run install scripts (ignore-scripts=false).');
    return 1;
  }
  writeFileSync(stamp, `${hash}\n`);
  return 0;
}

const build = () => runNode([compiler, '-b']);

/** ESLint's boundary rule reads Nx's cached project graph: a stale one would miss violations, so renew it first. */
async function lint(args) {
  const graph = await runNode([nx, 'show', 'projects'], { stdio: ['ignore', 'ignore', 2] });
  return graph === 0 ? runNode([eslint, ...(args.length > 0 ? args : ['.'])]) : graph;
}

const tasks = {
  build: (args) => (args.length > 0 ? runNode([compiler, '-b', ...args]) : build()),

  lint,

  /** Builds what the server needs and nothing else: no test may keep anybody from starting it. */
  async start(args) {
    const code = await runNode([compiler, '-b', serverProject]);
    return code === 0 ? runNode([...serverFlags, serverMain, ...args]) : code;
  },

  /** A cluster on this machine; what is built goes to stderr, so that `--json` leaves one line alone. */
  async cluster(args) {
    const code = await runNode([compiler, '-b', serverProject, clusterProject], { stdio: ['ignore', 2, 2] });
    // In `npm run cluster --json` npm takes the flag for its own.
    const flags = process.env.npm_config_json === 'true' ? ['--json'] : [];
    return code === 0 ? runNode(['--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', clusterMain, ...args, ...flags]) : code;
  },

  /** Puts a server under load; what is built goes to stderr, as with bench. */
  async load(args) {
    const code = await runNode([compiler, '-b'], { stdio: ['ignore', 2, 2] });
    const flags = process.env.npm_config_json === 'true' ? ['--json'] : [];
    return code === 0 ? runNode(['--enable-source-maps', 'load-tests/dist/main.js', ...args, ...flags]) : code;
  },

  /** From the data folder into the databases of a cluster. */
  async move(args) {
    const code = await runNode([compiler, '-b', serverProject], { stdio: ['ignore', 2, 2] });
    return code === 0 ? runNode(['--enable-source-maps', 'services/standalone/dist/move/main.js', ...args]) : code;
  },

  /** Shards to another database of the list. */
  async 'move-shards'(args) {
    const code = await runNode([compiler, '-b', serverProject], { stdio: ['ignore', 2, 2] });
    return code === 0 ? runNode(['--enable-source-maps', 'services/standalone/dist/move/shards-main.js', ...args]) : code;
  },

  /** Everything, in one run: the last line of the output is always `N passed, N failed`. */
  async test(args) {
    if ((await build()) !== 0) {
      console.log('build failed: no test was run\n0 passed, 1 failed');
      return 1;
    }
    const linted = await lint([]);
    const env = linted === 0 ? environment : { ...environment, DMB_FAILED_CHECKS: 'lint' };
    const tested = await runNode([vitest, 'run', ...args], { env });
    return tested || linted;
  },

  /** Clients from other people's hands; needs Python 3 and, the first time, PyPI. */
  async 'test:clients'(args) {
    const code = await build();
    return code === 0 ? runNode(['tools/clients/run.mjs', ...args]) : code;
  },

  /** Measures; what is built goes to stderr, so that stdout holds the results alone. */
  async bench(args) {
    const code = await runNode([compiler, '-b'], { stdio: ['ignore', 2, 2] });
    // In `npm run bench --json` npm takes the flag for its own (and prints no heading).
    const flags = process.env.npm_config_json === 'true' ? ['--json'] : [];
    return code === 0 ? runNode(['--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', 'services/standalone/dist/bench/main.js', ...args, ...flags]) : code;
  },

  'test:unit': (args) => runNode([vitest, 'run', '--project', 'unit', ...args]),
};

const [name = '', ...args] = process.argv.slice(2);
const task = tasks[name];
if (name !== 'install' && !Object.hasOwn(tasks, name)) {
  console.error(`usage: node tools/bootstrap.mjs ${['install', ...Object.keys(tasks)].join('|')} [arguments]`);
  process.exitCode = 2;
} else {
  process.exitCode = (await install()) || (task === undefined ? 0 : await task(args));
}
