/**
 * Kafka for tests: found, started, killed, wiped.
 *
 * Where it comes from, the first that works:
 *   1. TEST_KAFKA_BROKERS  brokers that are there already, comma-separated. Tests use names of their own there and remove them; a
 *                          test that kills or wipes a broker starts one by 2 or 3
 *   2. Docker              the image pinned below, when a Docker engine answers
 *   3. native              Apache Kafka's own jars by Maven coordinates, on Java 17 or later; fetched once by `mvn` into the
 *                          user's cache folder
 * {@link findKafka} says what was chosen and why, or what to install.
 *
 * One broker serves a whole run of tests: it is started by the first test that asks ({@link sharedKafka}), in the process that
 * holds the run, because test files come and go in processes of their own (engines-on-demand.ts). A broker is one node in
 * KRaft mode on free ports of loopback, in a temporary folder, with a small heap; what a killed run has left is ended by the next.
 *
 * A broker counts as started when it answers as a client asks: a port that is open may be anybody's, or a broker's that does not come up.
 * The shared one is asked again before each test ({@link TestKafka.revive}), so that a broker which has died fails one test and
 * not, each after its whole time, all that follow.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { kafkaAdmin } from '@dmb/event-log';
import { isDockerThere } from './docker.ts';
import { freePort } from './server.ts';

/** Pinned: the same broker in every run. */
export const kafkaVersion = '4.1.1';
export const kafkaImage = `apache/kafka:${kafkaVersion}`;

const bounds = { javaMin: 17, heapMegabytes: 384, startMsMax: 120_000, answerMsMax: 20_000, formatMsMax: 60_000, fetchMsMax: 600_000, stopMsMax: 15_000, pollMs: 50, linesKept: 30 } as const;
const folderPrefix = 'dmb-kafka-';

/** What was found to run Kafka with. */
export type KafkaSource =
  | { readonly from: 'url'; readonly why: string; readonly brokers: readonly string[] }
  | { readonly from: 'docker' | 'native'; readonly why: string }
  | { readonly from: 'nothing'; readonly why: string };

/** A broker under test. */
export interface TestKafka {
  readonly brokers: readonly string[];
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** After {@link TestKafka.kill}: starts it again at the same port, with what it had. */
  start(): Promise<void>;
  /** After {@link TestKafka.kill}: everything it had is gone; it will be another cluster. */
  wipe(): Promise<void>;
  /** Starts it again, with what it had, if it does not answer; what was the matter, if something was. */
  revive(): Promise<string | undefined>;
  stop(): Promise<void>;
}

let found: Promise<KafkaSource> | undefined;

/** Finds out once per process what Kafka can be run with. */
export function findKafka(options: { readonly startable?: boolean } = {}): Promise<KafkaSource> {
  const named = (process.env['TEST_KAFKA_BROKERS'] ?? '').split(',').filter((broker) => broker !== '');
  if (options.startable !== true && named.length > 0) return Promise.resolve({ from: 'url', why: 'TEST_KAFKA_BROKERS names it', brokers: named });
  found ??= findStartable();
  return found;
}

async function findStartable(): Promise<KafkaSource> {
  if (await isDockerThere()) return { from: 'docker', why: `a Docker engine answers; image ${kafkaImage}` };
  const java = await javaVersion();
  const advice = `install Java ${bounds.javaMin} or later and Maven (Debian and Ubuntu: apt-get install openjdk-17-jre-headless maven; macOS: brew install openjdk maven), start Docker, or name brokers in TEST_KAFKA_BROKERS`;
  if (java === undefined || java < bounds.javaMin) return { from: 'nothing', why: `No Kafka: no Docker engine answers and ${java === undefined ? 'there is no java on the PATH' : `java is ${java}`}; ${advice}.` };
  if (existsSync(jarFolder())) return { from: 'native', why: `Apache Kafka ${kafkaVersion} on Java ${java}; no Docker engine answers` };
  if (!isOnPath('mvn')) return { from: 'nothing', why: `No Kafka: no Docker engine answers, and there is no mvn on the PATH to fetch Apache Kafka with; ${advice}.` };
  try {
    await fetchJars();
  } catch (error) {
    return { from: 'nothing', why: `No Kafka: no Docker engine answers, and Maven could not fetch Apache Kafka ${kafkaVersion} (${(error as Error).message.slice(0, 500)}); ${advice}.` };
  }
  return { from: 'native', why: `Apache Kafka ${kafkaVersion} on Java ${java}, fetched by Maven; no Docker engine answers` };
}

const isOnPath = (program: string): boolean => (process.env['PATH'] ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, program)));

async function javaVersion(): Promise<number | undefined> {
  try {
    const { stderr } = await promisify(execFile)('java', ['-version']);
    return Number(/version "(\d+)/.exec(stderr)?.[1] ?? 0);
  } catch {
    return undefined;
  }
}

const jarFolder = (): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'dmb', `kafka-${kafkaVersion}`);

/** Apache Kafka and what it needs to run, 45 jars: whole or not at all. */
async function fetchJars(): Promise<void> {
  const folder = jarFolder();
  mkdirSync(join(folder, '..'), { recursive: true });
  const making = mkdtempSync(`${folder}.`);
  try {
    const dependency = `<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${kafkaVersion}</version></dependency>`;
    writeFileSync(
      join(making, 'pom.xml'),
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>dmb</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>${dependency}</dependencies></project>`,
    );
    const goal = ['-q', '-B', 'dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${join(making, 'jars')}`];
    await promisify(execFile)('mvn', goal, { cwd: making, timeout: bounds.fetchMsMax });
    renameSync(join(making, 'jars'), folder);
  } catch (error) {
    // Another run may have been faster.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

/**
 * Starts a broker for one test, or for a run of tests.
 * @throws when no Kafka can be had, with what to install
 */
export async function startTestKafka(): Promise<TestKafka> {
  const source = await findKafka({ startable: true });
  if (source.from === 'docker') return await startContainer();
  if (source.from === 'native') return await startNative();
  throw new Error(source.why);
}

/** The small broker of tests: nothing that waits for others, nothing that is kept fifty times. */
const settings = {
  'auto.create.topics.enable': 'false',
  'group.initial.rebalance.delay.ms': '0',
  // 50 partitions of it would make the first join of a group take seconds.
  'offsets.topic.num.partitions': '1',
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.num.partitions': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  // A test that kills a member does not wait for it as long as people would.
  'group.min.session.timeout.ms': '500',
  'num.network.threads': '2',
  'num.io.threads': '2',
  'log.cleaner.enable': 'false',
  'file.delete.delay.ms': '1000',
} as const;

async function startNative(): Promise<TestKafka> {
  await removeLeft();
  const folder = mkdtempSync(join(tmpdir(), `${folderPrefix}${process.pid}-`));
  const [port, controllerPort] = [await freePort(), await freePort()];
  const file = join(folder, 'server.properties');
  const properties = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': join(folder, 'data'),
    ...settings,
  };
  writeFileSync(file, Object.entries(properties).map(([name, value]) => `${name}=${value}\n`).join(''));
  let broker: Launched | undefined;
  const atExit = (): void => void broker?.child.kill('SIGKILL');
  process.once('exit', atExit);

  const format = async (): Promise<void> => {
    const id = randomBytes(16).toString('base64url').replace(/^-/, 'A');
    await promisify(execFile)('java', javaArguments('kafka.tools.StorageTool', 'format', '-t', id, '-c', file), { timeout: bounds.formatMsMax });
  };
  const kafka: TestKafka = {
    brokers: [`127.0.0.1:${port}`],
    async start() {
      if (broker !== undefined) throw new Error('it runs');
      broker = await launch(folder, file, port);
    },
    async kill() {
      const ended = broker;
      broker = undefined;
      await end(ended?.child, 'SIGKILL');
    },
    async revive() {
      if (broker !== undefined && isRunning(broker.child) && (await answers(port, bounds.answerMsMax))) return undefined;
      const { child, lines = [] } = broker ?? {};
      const state = child === undefined ? 'was not started' : isRunning(child) ? 'did not answer' : `had ended (${child.signalCode ?? child.exitCode})`;
      await kafka.kill();
      await kafka.start();
      return `the broker ${state}: ${lines.join('\n')}`;
    },
    async wipe() {
      if (broker !== undefined) throw new Error('it runs');
      rmSync(join(folder, 'data'), { recursive: true, force: true });
      await format();
    },
    async stop() {
      process.off('exit', atExit);
      // Nothing is kept: there is no reason to let it write.
      await kafka.kill();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
  try {
    await format();
    await kafka.start();
  } catch (error) {
    await kafka.stop();
    throw error;
  }
  return kafka;
}

const javaArguments = (...program: readonly string[]): string[] => [
  `-Xmx${bounds.heapMegabytes}m`,
  '-XX:+UseSerialGC',
  // A broker of a test lives too shortly for the second compiler.
  '-XX:TieredStopAtLevel=1',
  '-cp',
  join(jarFolder(), '*'),
  ...program,
];

/** A broker's process, and the last lines that it wrote. */
interface Launched {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
}

async function launch(folder: string, file: string, port: number): Promise<Launched> {
  // A process group of its own: Ctrl-C at a terminal reaches us alone, and those who use it end first.
  const child = spawn('java', javaArguments('kafka.Kafka', file), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const lines: string[] = [];
  const keep = (text: string): void => void lines.splice(0, lines.push(...text.split('\n')) - bounds.linesKept);
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  child.on('error', (error) => keep(error.message));
  writeFileSync(join(folder, 'pid'), String(child.pid));
  for (const deadline = Date.now() + bounds.startMsMax; isRunning(child) && Date.now() < deadline; await sleep(bounds.pollMs)) {
    if ((await listens(port)) && (await answers(port, deadline - Date.now())) && isRunning(child)) return { child, lines };
  }
  await end(child, 'SIGKILL');
  throw new Error(`Kafka did not start: ${lines.join('\n')}`);
}

const isRunning = (child: ChildProcess): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || !isRunning(child)) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await Promise.race([ended, sleep(bounds.stopMsMax, undefined, { ref: false })]);
}

async function listens(port: number): Promise<boolean> {
  return await new Promise((done) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      // Who asks an unused port long enough may be connected to themself.
      done(socket.localPort !== port);
      socket.destroy();
    });
    socket.once('error', () => done(false));
  });
}

/** Whether a broker answers there within the time, the part of it that keeps the positions of groups included. */
async function answers(port: number, withinMs: number): Promise<boolean> {
  const admin = kafkaAdmin({ brokers: [`127.0.0.1:${port}`], clientId: 'dmb-probe' });
  const ask = async (): Promise<boolean> => {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    await admin.fetchOffsets({ groupId: 'dmb-probe', topics: [] });
    return brokers.length > 0;
  };
  try {
    for (const deadline = Date.now() + withinMs; Date.now() < deadline; await sleep(bounds.pollMs)) {
      const late = sleep(Math.max(1, deadline - Date.now()), false, { ref: false });
      if (await Promise.race([ask().catch(() => false), late])) return true;
    }
    return false;
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** Ends brokers whose test run was killed: only those that work in a folder of ours. */
async function removeLeft(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = name.startsWith(folderPrefix) ? Number(/^\d+/.exec(name.slice(folderPrefix.length))?.[0]) : Number.NaN;
    if (Number.isNaN(owner) || isAlive(owner)) continue;
    const folder = join(tmpdir(), name);
    const pidFile = join(folder, 'pid');
    const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
    if (pid > 0 && (await commandOf(pid)).includes(folder)) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function commandOf(pid: number): Promise<string> {
  return await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)]).then(
    ({ stdout }) => stdout,
    () => '',
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function startContainer(): Promise<TestKafka> {
  const { GenericContainer } = await import('testcontainers');
  // The broker tells clients the port under which they find it: the one outside must be known before it starts.
  const [port, controllerPort] = [await freePort(), await freePort()];
  const environment = Object.fromEntries(Object.entries(settings).map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll('.', '_')}`, value]));
  const launchContainer = () =>
    new GenericContainer(kafkaImage)
      .withNetworkMode('host')
      .withEnvironment({
        ...environment,
        KAFKA_PROCESS_ROLES: 'broker,controller',
        KAFKA_NODE_ID: '1',
        KAFKA_CONTROLLER_QUORUM_VOTERS: `1@127.0.0.1:${controllerPort}`,
        KAFKA_LISTENERS: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
        KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://127.0.0.1:${port}`,
        KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
        KAFKA_INTER_BROKER_LISTENER_NAME: 'PLAINTEXT',
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
        KAFKA_HEAP_OPTS: `-Xmx${bounds.heapMegabytes}m`,
        CLUSTER_ID: randomBytes(16).toString('base64url').replace(/^-/, 'A'),
      })
      .start();
  const ready = async (): Promise<void> => {
    if (!(await answers(port, bounds.startMsMax))) throw new Error('Kafka did not start in its container');
  };
  let container = await launchContainer();
  await ready();
  return {
    brokers: [`127.0.0.1:${port}`],
    async kill() {
      await container.stop({ timeout: 0, remove: false });
    },
    async start() {
      await container.restart();
      await ready();
    },
    async revive() {
      if (await answers(port, bounds.answerMsMax)) return undefined;
      await container.restart();
      await ready();
      return 'the broker did not answer';
    },
    async wipe() {
      await container.stop({ timeout: 0 });
      container = await launchContainer();
      await container.stop({ timeout: 0, remove: false });
    },
    async stop() {
      await container.stop({ timeout: 0 });
    },
  };
}
