import { resolve } from 'node:path';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { helpText, readConfig, unknownVariables, variable } from './config.ts';
import { StartError } from './errors.ts';

const declaration = {
  port: variable({ type: 'port', name: 'DMB_HTTP_PORT', describe: 'Where we listen.', defaultText: 'the port in DMB_DOMAIN, else 8080' }),
  batch: variable({ type: 'int', name: 'DMB_BATCH', describe: 'Rows in a batch.', default: 100, min: 1, max: 1000, unit: 'rows' }),
  mode: variable({ type: 'enum', name: 'DMB_REGISTRATION', describe: 'Who may sign up.', values: ['open', 'approval', 'closed'], default: 'closed' }),
  data: variable({ type: 'path', name: 'DMB_DATA', describe: 'Where the data is.', default: './data' }),
  databases: variable({ type: 'url-list', name: 'DATABASE_URL', describe: 'Databases.', protocols: ['postgres', 'postgresql'], secret: true }),
  proxies: variable({ type: 'network-list', name: 'DMB_TRUSTED_PROXIES', describe: 'Proxies.', default: [] }),
  chatty: variable({ type: 'boolean', name: 'DMB_CHATTY', describe: 'Talks more.', default: false }),
  domain: variable({ type: 'string', name: 'DMB_DOMAIN', describe: 'Name.', pattern: /^[a-z.]+$/, form: 'a domain in lower case', check: (value: string) => (value === 'example' ? 'must have a dot' : undefined) }),
};

const problems = (environment: Record<string, string>): readonly string[] => {
  try {
    readConfig(declaration, environment);
    return [];
  } catch (error) {
    if (error instanceof StartError) return error.sentences;
    throw error;
  }
};

describe('readConfig', () => {
  it('gives defaults, and takes an empty variable for none', () => {
    const config = readConfig(declaration, { DMB_BATCH: '', DMB_REGISTRATION: ' ' });
    expect(config).toEqual({ port: undefined, batch: 100, mode: 'closed', data: resolve('data'), databases: undefined, proxies: [], chatty: false, domain: undefined });
    expectTypeOf(config.mode).toEqualTypeOf<'open' | 'approval' | 'closed'>();
    expectTypeOf(config.port).toEqualTypeOf<number | undefined>();
    expectTypeOf(config.batch).toEqualTypeOf<number>();
  });

  it('reads every type', () => {
    const config = readConfig(declaration, {
      DMB_HTTP_PORT: '443', DMB_BATCH: ' 7 ', DMB_REGISTRATION: 'open', DMB_DATA: '/var/lib/dmb', DATABASE_URL: 'postgres://a:b@c/d, postgresql://e/f',
      DMB_TRUSTED_PROXIES: '10.0.0.0/8 ::1', DMB_CHATTY: 'Yes', DMB_DOMAIN: 'example.org',
    });
    expect(config).toEqual({
      port: 443, batch: 7, mode: 'open', data: '/var/lib/dmb', databases: ['postgres://a:b@c/d', 'postgresql://e/f'], proxies: ['10.0.0.0/8', '::1'], chatty: true, domain: 'example.org',
    });
  });

  it('says one sentence for each wrong value, all together, and no secret', () => {
    const sentences = problems({ DMB_HTTP_PORT: '0', DMB_BATCH: '1e3', DMB_REGISTRATION: 'maybe', DATABASE_URL: 'mysql://user:hunter2@host/', DMB_TRUSTED_PROXIES: '10.0.0.0/99', DMB_CHATTY: '2', DMB_DOMAIN: 'example' });
    expect(sentences).toEqual([
      'DMB_HTTP_PORT must be a port, a whole number from 1 to 65535, not "0".',
      'DMB_BATCH must be a whole number from 1 to 1000 rows, not "1e3".',
      'DMB_REGISTRATION must be open, approval or closed, not "maybe".',
      'DATABASE_URL must be a list of postgres:// or postgresql:// URLs.',
      'DMB_TRUSTED_PROXIES must be a list of IP addresses or networks such as 10.0.0.0/8, not "10.0.0.0/99".',
      'DMB_CHATTY must be true or false, not "2".',
      'DMB_DOMAIN must have a dot, not "example".',
    ]);
  });

  it.each(['65536', '-1', '80.0', '0x50', '999999999999999999999', 'http'])('takes %s for no port', (text) => {
    expect(problems({ DMB_HTTP_PORT: text })).toHaveLength(1);
  });
});

it('tells of misspelled names', () => {
  expect(unknownVariables([declaration], 'DMB_', { DMB_DOMIAN: 'x', DMB_SOMETHING: 'y', DMB_DATA: 'z', HOME: '/' })).toEqual([
    'DMB_DOMIAN is not a variable of this program; did you mean DMB_DOMAIN?',
    'DMB_SOMETHING is not a variable of this program.',
  ]);
});

it('helps with every variable once', () => {
  const text = helpText([declaration, declaration]);
  expect(text.match(/DMB_BATCH/g)).toHaveLength(1);
  expect(text).toContain('a whole number from 1 to 1000 rows; default: 100');
  expect(text).toContain('default: the port in DMB_DOMAIN, else 8080');
});
