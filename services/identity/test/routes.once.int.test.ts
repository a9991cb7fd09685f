import { routes } from '@dmb/events';
import { expect, it } from 'vitest';
import { createWorld } from './world.ts';

it('handles every route that the table gives to identity, and serves nothing besides', async () => {
  const world = await createWorld();
  try {
    const ours = routes.filter(({ service }) => service === 'identity');
    expect(ours.filter(({ method, path }) => !world.app.fastify.hasRoute({ method, url: path }))).toEqual([]);
    const others = routes.filter(({ service }) => service !== 'identity');
    expect(others.filter(({ method, path }) => world.app.fastify.hasRoute({ method, url: path }))).toEqual([]);
    for (const { method, path } of ours) {
      const answer = await world.inject({ method, url: path.replace(':link', 'nothing') });
      expect([method, path, answer.statusCode < 500]).toEqual([method, path, true]);
    }
  } finally {
    await world.close();
  }
});
