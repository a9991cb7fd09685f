import { describe, expect, it } from 'vitest';
import { AppError } from './errors.ts';
import { createLogger, nestLogger, setLogSink, type LoggerOptions } from './log.ts';

function capture(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const logger = createLogger({ name: 'test', form: 'json', stream: { write: (text) => lines.push(text) }, now: () => new Date(0), ...options });
  return { logger, lines, objects: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('a log line', () => {
  it('is one line of JSON with time, level, name and fields', () => {
    const { logger, lines, objects } = capture();
    logger.child('part', { fixed: 1 }).info('hello\nworld', { count: 5n, at: new Date(0), bytes: Buffer.from('x') });
    expect(lines[0]?.indexOf('\n')).toBe((lines[0]?.length ?? 0) - 1);
    expect(objects()).toEqual([{ time: '1970-01-01T00:00:00.000Z', level: 'info', name: 'test/part', message: 'hello\nworld', fixed: 1, count: '5', at: '1970-01-01T00:00:00.000Z', bytes: '[1 bytes]' }]);
  });

  it('leaves out what is below its level', () => {
    const { logger, lines } = capture({ level: 'warn' });
    logger.info('no');
    logger.debug('no');
    logger.warn('yes');
    expect(lines).toHaveLength(1);
  });

  it('holds no secret: by name, in URLs, in query strings, in headers', () => {
    const { logger, lines } = capture();
    logger.error('GET /api/v1/streaming?access_token=hunter2&stream=user', {
      authorization: 'hunter2', nested: { clientSecret: 'hunter2', password: 'hunter2' }, url: 'postgres://user:hunter2@host/db',
      header: 'Bearer hunter2', error: new AppError('bug', 'x', { detail: 'token=hunter2', cause: new Error('postgres://u:hunter2@h') }),
    });
    expect(lines.join('')).not.toContain('hunter2');
  });

  it('is bounded, whatever it is given', () => {
    const { logger, lines } = capture();
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    logger.info('x'.repeat(1_000_000), { circle, many: Array.from({ length: 100_000 }, (_, index) => index) });
    expect(lines[0]?.length).toBeLessThan(10_000);
  });

  it('tells the causes of an error with kind and private detail', () => {
    const { logger, objects } = capture();
    logger.error('failed', { error: new AppError('unavailable', undefined, { detail: 'disk', cause: new TypeError('inner') }) });
    expect(objects()[0]?.['error']).toMatchObject({ kind: 'unavailable', detail: 'disk', cause: { name: 'TypeError', message: 'inner' } });
  });

  // A database that is away for an hour would fill the log with stacks.
  it('says where in the code only of what may be a mistake there', () => {
    const away = () => new AppError('unavailable', undefined, { detail: 'no connection', cause: new Error('ECONNREFUSED', { cause: new Error('first') }) });
    const { logger, lines, objects } = capture();
    logger.warn('no luck', { error: away() });
    logger.error('no luck', { error: away() });
    logger.warn('odd', { error: new TypeError('x is not a function') });
    expect(lines.join('')).not.toContain('stack');
    expect(objects()[0]?.['error']).toMatchObject({ kind: 'unavailable', detail: 'no connection', cause: { message: 'ECONNREFUSED', cause: { message: 'first' } } });
    logger.error('odd', { error: new TypeError('x is not a function') });
    logger.error('odd', { error: new AppError('bug', undefined, { detail: 'odd' }) });
    expect(objects().slice(3).every(({ error }) => (error as { stack: string }).stack.includes('log.test.ts'))).toBe(true);
    const debugging = capture({ level: 'debug' });
    debugging.logger.warn('no luck', { error: away() });
    expect(debugging.lines.join('')).toContain('log.test.ts');
    const human = capture({ form: 'human' });
    human.logger.warn('no luck', { error: away(), try: 2 });
    expect(human.lines.join('').split('\n')).toHaveLength(2);
    expect(human.lines[0]).toMatch(/no luck.*try=2.*: no connection: ECONNREFUSED: first\n$/);
  });

  it('on a terminal cannot carry control characters of a stranger', () => {
    const { logger, lines } = capture({ form: 'human' });
    logger.info('a\u001B]0;title\u0007b', { error: new Error('c\u001B[2Jd') });
    expect(lines.join('')).not.toMatch(/\u001B\]|\u0007|\u001B\[2J/);
  });

  it('goes to the sink of telemetry as well', () => {
    const { logger } = capture();
    const seen: unknown[] = [];
    setLogSink((_time, level, name, message) => seen.push([level, name, message]));
    logger.warn('w');
    setLogSink(undefined);
    logger.warn('x');
    expect(seen).toEqual([['warn', 'test', 'w']]);
  });
});

it("Nest's chatter is debug, its errors are errors", () => {
  const { logger, objects } = capture({ level: 'debug' });
  const nest = nestLogger(logger);
  nest.log('Mapped {/x, GET} route', 'RouterExplorer');
  nest.error(new Error('boom'), undefined, 'ExceptionsHandler');
  expect(objects()).toMatchObject([{ level: 'debug', context: 'RouterExplorer' }, { level: 'error', message: 'boom', context: 'ExceptionsHandler' }]);
});
