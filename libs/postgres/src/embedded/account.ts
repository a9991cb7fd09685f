/**
 * As whom the embedded Postgres runs.
 *
 * Postgres refuses to run as root. An ordinary user runs it as themself. Root runs it as the owner
 * of the data folder, at first the user `postgres`, who is made if there is none.
 *
 * That user must reach the data folder and the programs, and where root has cloned the repository
 * below its home or a private temporary folder, it cannot pass the folders above. Nothing is
 * changed about those: the processes then get the one capability that passes them
 * (`CAP_DAC_OVERRIDE`, by `setpriv` of util-linux). That takes nothing away: whoever could misuse
 * it has a database whose owner is root's own program. Without `setpriv`, there is a sentence.
 * `access(2)`, by which initdb looks for the program beside it, takes a capability into account only where changes of user
 * leave capabilities alone (`SECBIT_NO_SETUID_FIXUP`).
 */
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { chownSync, lchownSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { StartError } from '@dmb/runtime';

/** Runs programs as the user who owns the data. */
export interface Account {
  /** Undefined: as ourselves. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Makes a file or folder theirs. */
  own(path: string): void;
}

/** The environment of the processes: nothing of ours, and messages in English. */
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

const ourselves: Account = {
  uid: undefined,
  gid: undefined,
  spawn: (program, args, options) => spawn(program, args, { ...options, env: environment }),
  own: () => undefined,
};

/**
 * The account for a data folder that exists.
 * @param cluster where Postgres keeps its files, if it is there already
 * @throws {StartError} one sentence: another user's folder, no way for `postgres` to reach it
 */
export function accountFor({ folder, cluster, programs }: { readonly folder: string; readonly cluster: string | undefined; readonly programs: readonly string[] }): Account {
  const uid = process.getuid?.();
  if (uid !== 0) {
    if (cluster !== undefined && statSync(cluster).uid !== uid) throw new StartError(`The data folder ${folder} belongs to another user.`);
    return ourselves;
  }
  const owner = cluster === undefined ? undefined : statSync(cluster);
  const user = owner === undefined || owner.uid === 0 ? postgresUser() : owner;
  if (cluster !== undefined && owner?.uid === 0) ownTree(cluster, user);
  // The folder itself may be new and root's; the ones above it are not ours to change.
  if (statSync(folder).uid === 0) chownSync(folder, user.uid, user.gid);
  const own = (path: string): void => chownSync(path, user.uid, user.gid);
  const direct: Account = { ...user, own, spawn: (program, args, options) => spawn(program, args, { ...options, env: environment, uid: user.uid, gid: user.gid }) };
  if (canReach(user, folder, programs)) return direct;
  const pass = ['--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups', '--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup', '--'];
  if (spawnSync('setpriv', [...pass, 'sh', '-c', `cd "$1" && test -x "$2"`, 'probe', folder, ...programs], { cwd: '/', env: environment }).status !== 0) {
    throw new StartError(
      `Postgres cannot run as root, and the user it runs as instead (postgres) cannot reach ${folder} or ${programs[0] ?? ''}, because a folder above is closed to others: run DMB as an ordinary user, or from a folder that others may pass.`,
    );
  }
  return { ...user, own, spawn: (program, args, options) => spawn('setpriv', [...pass, program, ...args], { ...options, env: environment }) };
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

function postgresUser(): User {
  const known = lookUp('postgres');
  if (known !== undefined) return known;
  // Debian, Red Hat and the like; then Alpine.
  spawnSync('useradd', ['--system', '--user-group', '--no-create-home', '--home-dir', '/', '--shell', '/usr/sbin/nologin', 'postgres'], { env: environment });
  if (lookUp('postgres') === undefined) spawnSync('adduser', ['-S', '-D', '-H', '-h', '/', '-s', '/sbin/nologin', 'postgres'], { env: environment });
  const made = lookUp('postgres');
  if (made === undefined) throw new StartError('Postgres cannot run as root, and a user "postgres" could not be made: run DMB as an ordinary user.');
  return made;
}

function lookUp(name: string): User | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => {
    const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8', env: environment });
    return status === 0 ? Number(stdout.trim()) : undefined;
  });
  return uid === undefined || gid === undefined || uid === 0 ? undefined : { uid, gid };
}

function canReach({ uid, gid }: User, folder: string, programs: readonly string[]): boolean {
  const probe = spawnSync('/bin/sh', ['-c', `cd "$1" && test -x "$2"`, 'probe', folder, ...programs], { uid, gid, cwd: '/', env: environment });
  return probe.status === 0;
}

function ownTree(folder: string, user: User): void {
  lchownSync(folder, user.uid, user.gid);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) ownTree(path, user);
    else lchownSync(path, user.uid, user.gid);
  }
}
