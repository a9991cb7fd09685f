/** Whether a Docker engine answers. Asked before testcontainers is loaded, which takes a second and speaks of failures at length. */
import { existsSync } from 'node:fs';
import { request } from 'node:http';

/** True if an engine answers at DOCKER_HOST or the usual socket; a client without an engine does not count. */
export async function isDockerThere(): Promise<boolean> {
  const { protocol, hostname, port, pathname } = new URL(process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock');
  if (protocol === 'unix:' && !existsSync(pathname)) return false;
  return await new Promise((done) => {
    const target = protocol === 'unix:' ? { socketPath: pathname } : { host: hostname, port };
    const ping = request({ ...target, path: '/_ping', timeout: 1_000 }, (answer) => {
      answer.resume();
      done(answer.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy()).on('error', () => done(false)).end();
  });
}
