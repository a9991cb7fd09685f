/**
 * `npm run cluster`: DMB as a cluster on this machine.
 *
 *     nginx, one port ──► identity · microblog ×2 · timeline ×2   ◄─ calls ─►   fan-out ×2
 *                                         Kafka · Redis ×2 · Postgres ×2
 *
 * The processes are those of production, with the same variables; only who starts them and their engines is of this
 * machine. A process that ends is started again (member.ts). `cluster.json` in the folder says at any time what runs.
 *
 * Stopping, in this order: nginx takes nothing new while streams are told goodbye and requests end; the processes that hold
 * no requests; identity, which the others ask until the end; the engines. Everything that was started here ends here. What a killed run has left, the
 * next one ends: by the folder in which it works, never by name.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { execFile, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';
import { ingressLimits, nginxConfig } from '@dmb/cluster/ingress';
import { routes, serviceNames, type ServiceName } from '@dmb/events';
import { stopLeftPostgres } from '@dmb/postgres';
import { notice, StartError } from '@dmb/runtime';
import { startNginx } from '../nginx.ts';
import { freePort, isRunning } from '../server.ts';
import { startEngines, type ClusterEngines } from './engines.ts';
import { lines, Member } from './member.ts';
import { clusterUsage, readClusterOptions, type ClusterOptions } from './options.ts';

const root = resolve(import.meta.dirname, '../../../..');
const node = join(root, 'node_modules/node/bin/node');
/** As tools/bootstrap.mjs passes them to one process; kafkajs sets timers into the past. */
const nodeFlags = ['--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', '--max-semi-space-size=16', '--import', pathToFileURL(join(root, 'libs/runtime/dist/preload.js')).href];
const folderPrefix = 'dmb-cluster-';

/** What is told of a running cluster. */
export interface ClusterDescription {
  readonly url: string;
  readonly processes: readonly { readonly service: ServiceName; readonly name: string; readonly pid: number }[];
  readonly engines: { readonly kafka: readonly string[]; readonly redis: readonly string[]; readonly postgres: readonly string[]; readonly chosen: Readonly<Record<string, string>> };
  /** Of this runner. */
  readonly pid: number;
  /** A file that says this, as it is now: processes that were started again have other pids. */
  readonly state: string;
  /** Makes its opener the operator, once; null when there is one. */
  readonly operatorLink: string | null;
}

interface Place {
  readonly service: ServiceName;
  readonly name: string;
  readonly httpPort: number;
  readonly callPort: number;
}

/** Runs a cluster until a signal; the exit code. */
export async function runCluster(parameters: readonly string[]): Promise<number> {
  let options: ClusterOptions | undefined;
  try {
    options = readClusterOptions(parameters);
  } catch (error) {
    say((error as Error).message);
    return 2;
  }
  if (options === undefined) {
    notice(clusterUsage);
    return 0;
  }
  const cluster = new Cluster(options);
  return await cluster.run();
}

class Cluster {
  private readonly options: ClusterOptions;
  private readonly folder: string;
  private readonly data: string;
  private readonly secret = randomBytes(33).toString('base64url');
  private readonly members: Member[] = [];
  private readonly places = new Map<Member, Place>();
  private engines: ClusterEngines | undefined;
  private nginx: ChildProcess | undefined;
  private port = 0;
  private link: string | null = null;
  private isStopping = false;
  private rolling: Promise<void> = Promise.resolve();
  private end: (code: number) => void = () => undefined;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.folder = mkdtempSync(join(realpathSync(tmpdir()), `${folderPrefix}${process.pid}-`));
    // The user as whom Postgres runs must be able to pass.
    chmodSync(this.folder, 0o711);
    this.data = options.data ?? this.folder;
  }

  async run(): Promise<number> {
    const ended = new Promise<number>((done) => (this.end = done));
    let signals = 0;
    const onSignal = (): void => {
      // A terminal sends one, and npm another.
      if (++signals === 1) this.end(0);
      else if (signals > 3) process.exit(1);
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
    // Whoever started it with a channel to it is gone, perhaps without having been able to say so.
    process.once('disconnect', () => this.end(1));
    // Nobody reads any more: no reason not to stop in order.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
    process.on('SIGUSR2', () => void (this.rolling = this.rolling.then(() => this.roll())));
    process.on('exit', () => {
      for (const member of this.members) member.kill();
      this.nginx?.kill('SIGKILL');
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
    });
    const started = this.start().then(
      () => undefined,
      (error: unknown) => {
        if (!this.isStopping) say(error instanceof StartError ? error.message : `The cluster did not start: ${(error as Error).stack ?? String(error)}`);
        this.end(1);
      },
    );
    const code = await ended;
    this.isStopping = true;
    await this.stop(started);
    return code;
  }

  private async start(): Promise<void> {
    await removeLeft();
    if (this.options.data !== undefined) mkdirSync(this.options.data, { recursive: true });
    this.port = this.options.port === 0 ? await freePort() : this.options.port;
    this.engines = await startEngines(this.options, this.data);
    if (this.isStopping) return;
    for (const [engine, why] of Object.entries(this.engines.chosen)) say(`${engine}: ${why}`);
    const places: Place[] = [];
    for (const service of serviceNames) {
      for (let index = 1; index <= this.options.counts[service]; index++) places.push({ service, name: `${service}-${index}`, httpPort: await freePort(), callPort: await freePort() });
    }
    for (const place of places) {
      const member = this.memberAt(place, places, this.engines);
      this.members.push(member);
      this.places.set(member, place);
      member.start();
    }
    await Promise.all(this.members.map((member) => member.ready()));
    if (this.isStopping) return;
    await this.startIngress(places, this.engines);
    this.link = await this.operatorLink(places, this.engines);
    this.describe();
    if (this.options.json) process.stdout.write(`${JSON.stringify(this.description())}\n`);
    else notice(this.readyText());
  }

  private memberAt(place: Place, places: readonly Place[], engines: ClusterEngines): Member {
    return new Member({
      name: place.name,
      program: node,
      args: [...nodeFlags, join(root, `services/${place.service}/dist/main.js`)],
      environment: this.environmentOf(place, places, engines),
      folder: this.folder,
      readyUrl: `http://127.0.0.1:${place.callPort}/readyz`,
      write: say,
      onChange: () => this.describe(),
      onHopeless: (why) => {
        say(why);
        this.end(1);
      },
    });
  }

  private environmentOf({ service, httpPort, callPort }: Place, places: readonly Place[], engines: ClusterEngines): Record<string, string> {
    const callsTo = (callee: ServiceName): string => places.filter((place) => place.service === callee).map((place) => `http://127.0.0.1:${place.callPort}`).join(',');
    const passed = Object.entries(process.env).filter(([name, value]) => value !== undefined && (/^(PATH|HOME|TMPDIR|TZ|LANG|NODE_EXTRA_CA_CERTS)$/.test(name) || /^(DMB|OTEL)_/.test(name)));
    return {
      OTEL_SERVICE_NAME: `dmb-${service}`,
      DMB_DOMAIN: `localhost:${this.port}`,
      DMB_TRUSTED_PROXIES: '127.0.0.1,::1',
      ...(Object.fromEntries(passed) as Record<string, string>),
      DATABASE_URL: engines.postgres.join(','),
      KAFKA_BROKERS: engines.kafka.join(','),
      REDIS_URLS: engines.redis.join(','),
      DMB_REDIS_MODE: this.options.redisMode,
      DMB_CALL_SECRET: this.secret,
      DMB_IDENTITY_URLS: callsTo('identity'),
      DMB_MICROBLOG_URLS: callsTo('microblog'),
      DMB_HTTP_HOST: '127.0.0.1',
      DMB_HTTP_PORT: String(httpPort),
      DMB_CALL_PORT: String(callPort),
    };
  }

  private async startIngress(places: readonly Place[], engines: ClusterEngines): Promise<void> {
    const addressesOf = (service: ServiceName): string[] => places.filter((place) => place.service === service).map(({ httpPort }) => `127.0.0.1:${httpPort}`);
    const folder = join(this.folder, 'nginx');
    const text = nginxConfig({
      routes,
      upstreams: { identity: addressesOf('identity'), microblog: addressesOf('microblog'), timeline: addressesOf('timeline') },
      listen: [`127.0.0.1:${this.port}`],
      folder,
      workers: 1,
    });
    try {
      this.nginx = await startNginx(engines.nginx, folder, text);
    } catch (error) {
      throw new StartError(`nginx refuses its configuration, or port ${this.port} is in use: ${(error as Error).message}`, { cause: error });
    }
    const { nginx } = this;
    lines(nginx.stderr, (line) => say(`${'nginx'.padEnd(12)} | ${line}`));
    const gone = new Promise<never>((_, reject) => {
      nginx.once('exit', (code) => {
        reject(new StartError(`nginx has ended with code ${code ?? '?'}.`));
        if (this.isStopping) return;
        say(`nginx has ended with code ${code ?? '?'}.`);
        this.end(1);
      });
    });
    gone.catch(() => undefined);
    await Promise.race([gone, answers(`http://127.0.0.1:${this.port}/health/live`)]);
  }

  /** Asked once: each link ends the one before. */
  private async operatorLink(places: readonly Place[], engines: ClusterEngines): Promise<string | null> {
    const [place] = places.filter(({ service }) => service === 'identity');
    if (place === undefined) return null;
    const env = this.environmentOf(place, places, engines);
    const { stdout } = await promisify(execFile)(node, [join(root, 'services/identity/dist/main.js'), 'operator-link'], { env, cwd: this.folder, timeout: 60_000 });
    return /https?:\/\/\S+/.exec(stdout)?.[0] ?? null;
  }

  private description(): ClusterDescription {
    const processes = this.members.flatMap((member) => {
      const place = this.places.get(member);
      return place === undefined || member.pid === undefined ? [] : [{ service: place.service, name: place.name, pid: member.pid }];
    });
    const { kafka = [], redis = [], postgres = [], chosen = {} } = this.engines ?? {};
    return { url: `http://localhost:${this.port}`, processes, engines: { kafka, redis, postgres, chosen }, pid: process.pid, state: join(this.folder, 'cluster.json'), operatorLink: this.link };
  }

  private describe(): void {
    if (existsSync(this.folder)) writeFileSync(join(this.folder, 'cluster.json'), `${JSON.stringify(this.description())}\n`, { mode: 0o600 });
  }

  private readyText(): string {
    const { url, processes } = this.description();
    const operator = this.link === null ? [] : ['', '  This server has no operator yet. Whoever opens this link becomes it (it works once):', '', `    ${this.link}`];
    return [
      `DMB is ready at ${url}: ${serviceNames.map((service) => `${service} ×${processes.filter((each) => each.service === service).length}`).join(', ')}`,
      ...operator,
      '',
      `  ${this.options.data === undefined ? 'Everything is temporary and goes at the end.' : `The databases are kept in ${this.options.data}.`} Ctrl-C stops the cluster.`,
      '',
    ].join('\n');
  }

  /** Restarts every process, one after the other, each ready before the next. */
  private async roll(): Promise<void> {
    say('rolling restart begins');
    for (const member of this.members) {
      if (this.isStopping) return;
      try {
        await member.restart();
        // The ingress has to find out, too.
        await sleep(2 * ingressLimits.restSeconds * 1_000);
        say(`${member.name} was restarted`);
      } catch (error) {
        say(`rolling restart stops: ${(error as Error).message}`);
        return;
      }
    }
    say('rolling restart is done');
  }

  private async stop(started: Promise<void>): Promise<void> {
    say('stopping');
    const of = (...services: readonly ServiceName[]): Promise<unknown> => Promise.all(this.members.filter((member) => services.includes(this.places.get(member)?.service ?? 'identity')).map((member) => member.stop()));
    const { nginx } = this;
    const quit = nginx === undefined || nginx.exitCode !== null || nginx.signalCode !== null ? undefined : new Promise((done) => nginx.once('exit', done));
    nginx?.kill('SIGQUIT');
    await Promise.all([quit, of('timeline')]);
    await of('fan-out', 'microblog');
    await of('identity');
    // Engines that are just being started are waited for, or they would stay.
    await started;
    await of('timeline', 'fan-out', 'microblog', 'identity');
    await this.engines?.stop();
    say('stopped');
  }
}

/** A line for whoever looks on: standard output belongs to the result. */
const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function answers(url: string): Promise<void> {
  for (;;) {
    const isThere = await fetch(url, { signal: AbortSignal.timeout(1_000) }).then(
      (answer) => answer.status === 200,
      () => false,
    );
    if (isThere) return;
    await sleep(25);
  }
}

/** Ends what a killed run has left: processes that work in its folder, its Postgres, the folder. */
async function removeLeft(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${folderPrefix}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    const folder = join(realpathSync(tmpdir()), name);
    for (const pid of pidsOf(folder)) if (worksIn(pid, folder)) process.kill(pid, 'SIGKILL');
    for (const each of readdirSync(folder)) if (each.startsWith('postgres-')) await stopLeftPostgres(join(folder, each)).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The processes that a run has written down. */
function pidsOf(folder: string): number[] {
  const read = (file: string): string => (existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : '');
  const described = read('cluster.json');
  const processes = described === '' ? [] : (JSON.parse(described) as ClusterDescription).processes.map(({ pid }) => pid);
  return [...processes, Number(read('nginx/nginx.pid'))].filter((pid) => pid > 0 && isRunning(pid));
}

/** Only Linux can tell; elsewhere nobody is ended. */
function worksIn(pid: number, folder: string): boolean {
  try {
    const place = readlinkSync(`/proc/${pid}/cwd`);
    return place === folder || place.startsWith(`${folder}/`);
  } catch {
    return false;
  }
}
