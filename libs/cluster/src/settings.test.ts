import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { clusterVariables, readClusterSettings } from './settings.ts';

const good = {
  DMB_DOMAIN: 'example.org',
  DATABASE_URL: 'postgres://one/dmb, postgres://two/dmb',
  KAFKA_BROKERS: 'kafka-1:9092,[::1]:9093',
  REDIS_URLS: 'redis://redis-1',
  DMB_CALL_SECRET: 'x'.repeat(32),
  DMB_IDENTITY_URLS: 'http://identity-1:8081,http://identity-2:8081',
  DMB_MICROBLOG_URLS: 'http://microblog:8081',
};

function problems(changes: Readonly<Record<string, string>>, asks: readonly ('identity' | 'microblog')[] = ['identity', 'microblog']): string {
  try {
    readClusterSettings({ ...good, ...changes }, 'timeline', asks);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('settings of a process', () => {
  it('are worked out', () => {
    expect(readClusterSettings(good, 'timeline', ['identity', 'microblog'])).toMatchObject({
      domain: 'example.org', baseUrl: 'https://example.org', https: true, host: '::', callHost: '::', httpPort: 8_080, callPort: 8_081,
      databaseUrls: ['postgres://one/dmb', 'postgres://two/dmb'], redisMode: 'nodes', callSecrets: ['x'.repeat(32)],
      kafka: { brokers: ['kafka-1:9092', '[::1]:9093'], clientId: 'dmb-timeline' },
      callUrls: { identity: ['http://identity-1:8081', 'http://identity-2:8081'], microblog: ['http://microblog:8081'] },
    });
  });

  it.each([
    [{ KAFKA_BROKERS: '' }, 'KAFKA_BROKERS must be set'],
    [{ KAFKA_BROKERS: 'kafka' }, 'KAFKA_BROKERS must be a list of addresses'],
    [{ KAFKA_BROKERS: 'kafka:99999' }, 'KAFKA_BROKERS must be a list of addresses'],
    [{ REDIS_URLS: 'http://x' }, 'REDIS_URLS must be a list of redis:// or rediss:// URLs.'],
    [{ DMB_CALL_SECRET: 'short' }, 'DMB_CALL_SECRET must have at least 32 characters'],
    [{ DMB_CALL_SECRET: 'with a space that is not allowed in it' }, 'DMB_CALL_SECRET must have'],
    [{ DMB_CALL_SECRET_ALSO: 'short' }, 'DMB_CALL_SECRET_ALSO must have'],
    [{ DMB_MICROBLOG_URLS: '' }, 'DMB_MICROBLOG_URLS must be set: timeline asks microblog.'],
    [{ DMB_MICROBLOG_URLS: 'http://microblog:8081/calls' }, 'DMB_MICROBLOG_URLS must be addresses without a path.'],
    [{ DMB_KAFKA_SASL: 'plain' }, 'DMB_KAFKA_SASL needs DMB_KAFKA_USER and DMB_KAFKA_PASSWORD.'],
    [{ DMB_DOMAIN: 'not a domain' }, 'DMB_DOMAIN must be a domain name'],
    [{ DMB_CALL_HOST: 'somewhere' }, 'DMB_CALL_HOST must be an IP address'],
  ])('are refused with one sentence: %j', (changes, sentence) => {
    const told = problems(changes as Readonly<Record<string, string>>);
    expect(told).toContain(sentence);
    expect(told.split('\n')).toHaveLength(1);
  });

  it('tell all that is wrong together, and no secret', () => {
    const told = problems({ KAFKA_BROKERS: 'x', DMB_CALL_SECRET: 'hush', DATABASE_URL: 'mysql://user:hush@host' });
    expect(told.split('\n')).toHaveLength(3);
    expect(told).not.toContain('hush');
  });

  it('need no address of a service that is not asked', () => {
    expect(problems({ DMB_IDENTITY_URLS: '' }, ['microblog'])).toBe('');
  });

  it('stand in the table for whoever runs a cluster', () => {
    const table = readFileSync(new URL('../../../docs/cluster.md', import.meta.url), 'utf8');
    expect(Object.values(clusterVariables).map(({ name }) => name).filter((name) => !table.includes(`\`${name}\``))).toEqual([]);
  });
});
