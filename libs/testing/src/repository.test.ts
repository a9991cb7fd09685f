import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ESLint } from 'eslint';
import { beforeAll, describe, expect, it } from 'vitest';

/**
 * The repository checks itself: the rules of eslint.config.mjs bind only if every project has a layer, if no rule is
 * a wildcard, and if a planted violation is really reported. ESLint passes in silence when its boundary rule finds
 * no project graph, a stale one, or a file that no configuration matches; the planted violations notice that.
 */
const root = resolve(import.meta.dirname, '../../..');

interface Manifest {
  name: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  nx?: { tags?: string[] };
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

const projects = globSync('{{libs,services}/*,load-tests}/package.json', { cwd: root }).map((path) => ({
  folder: dirname(path),
  manifest: readJson(join(root, path)) as Manifest,
}));

const workspacesIn = (dependencies: Record<string, string> = {}): string[] =>
  Object.keys(dependencies)
    .filter((name) => name.startsWith('@dmb/'))
    .sort();

const importedWorkspaces = (folder: string): string[] => {
  const names = new Set<string>();
  for (const file of globSync(`${folder}/src/**/*.ts`, { cwd: root })) {
    if (file.endsWith('.test.ts')) continue;
    const text = readFileSync(join(root, file), 'utf8');
    for (const [, name] of text.matchAll(/(?:from|import)\s*\(?\s*['"](@dmb\/[^'"/]+)/g)) if (name) names.add(name);
  }
  return [...names].sort();
};

describe('every project', () => {
  it('is found', () => {
    expect(projects.length).toBeGreaterThanOrEqual(12);
  });

  it.each(projects)('$folder has exactly one layer', ({ manifest }) => {
    expect(manifest.nx?.tags?.filter((tag) => tag.startsWith('layer:'))).toHaveLength(1);
  });

  it.each(projects)('$folder lists the workspaces it imports, and the compiler refers to those it lists', (project) => {
    const listed = workspacesIn(project.manifest.dependencies);
    expect(listed).toEqual(expect.arrayContaining(importedWorkspaces(project.folder)));

    const { references } = readJson(join(root, project.folder, 'tsconfig.src.json')) as {
      references: { path: string }[];
    };
    const referred = references.map(({ path }) => {
      const folder = dirname(join(project.folder, path));
      return projects.find((candidate) => candidate.folder === folder)?.manifest.name;
    });
    expect(referred.sort()).toEqual(listed);
  });

  it.each(projects)('$folder leaves packages from outside to the root manifest', ({ manifest }) => {
    const all = { ...manifest.dependencies, ...manifest.devDependencies };
    expect(Object.keys(all).filter((name) => !name.startsWith('@dmb/'))).toEqual([]);
  });
});

describe('lint', () => {
  const eslint = new ESLint({ cwd: root });

  /** The rules that report `code` as if it stood in `file`, which must exist. */
  const reported = async (file: string, code: string): Promise<(string | null)[]> => {
    const [result] = await eslint.lintText(code, { filePath: join(root, file) });
    const messages = result?.messages ?? [];
    expect(messages.filter(({ fatal }) => fatal)).toEqual([]);
    return [...new Set(messages.map(({ ruleId }) => ruleId))];
  };

  beforeAll(() => {
    // The boundary rule reads the cached project graph; renew it, as `npm run lint` does.
    execFileSync(process.execPath, ['node_modules/nx/dist/bin/nx.js', 'show', 'projects'], {
      cwd: root,
      env: { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false' },
    });
  }, 60_000);

  it('has a constraint for each layer, and none with a wildcard', async () => {
    const rule = '@nx/enforce-module-boundaries';
    for (const file of ['services/identity/src/index.ts', 'services/identity/src/a.test.ts']) {
      const config = (await eslint.calculateConfigForFile(join(root, file))) as {
        rules: Record<string, [number, { depConstraints: { sourceTag: string; onlyDependOnLibsWithTags: string[] }[] }]>;
      };
      const [severity, options] = config.rules[rule] ?? [];
      expect(severity).toBe(2);
      const constraints = options?.depConstraints ?? [];
      const tags = new Set(projects.flatMap(({ manifest }) => manifest.nx?.tags ?? []));
      expect(constraints.map(({ sourceTag }) => sourceTag).sort()).toEqual([...tags].sort());
      expect(constraints.flatMap((c) => [c.sourceTag, ...c.onlyDependOnLibsWithTags]).join()).not.toContain('*');
    }
  });

  const boundary = '@nx/enforce-module-boundaries';
  const source = 'services/identity/src/index.ts';
  const use = (name: string): string => `import * as x from '${name}';\nexport const y: unknown = x;\n`;

  it.each([
    ['a service imports a service', source, use('@dmb/microblog'), boundary],
    ['a service imports testing', source, use('@dmb/testing'), boundary],
    ['a service imports a service by a relative path', source, use('../../microblog/src/index.ts'), boundary],
    ['a lower layer imports a higher one', 'libs/protocol/src/index.ts', use('@dmb/events'), boundary],
    ['a library imports a service', 'libs/runtime/src/index.ts', use('@dmb/identity'), boundary],
    ['testing imports a service', 'libs/testing/src/index.ts', use('@dmb/identity'), boundary],
    ['a service imports pg', source, use('pg'), 'no-restricted-imports'],
    ['postgres imports kafkajs', 'libs/postgres/src/index.ts', use('kafkajs'), 'no-restricted-imports'],
    ['event-log imports ioredis', 'libs/event-log/src/index.ts', use('ioredis'), 'no-restricted-imports'],
    ['a service reads the environment', source, 'export const x = process.env;\n', 'no-restricted-properties'],
    [
      'a service imports the environment',
      source,
      "import { env } from 'node:process';\nexport const x = env;\n",
      'no-restricted-imports',
    ],
    ['a service writes to the console', source, "console.log('x');\nexport {};\n", 'no-console'],
    [
      'a promise is left alone',
      source,
      'const f = async (): Promise<void> => {};\nf();\nexport {};\n',
      '@typescript-eslint/no-floating-promises',
    ],
  ])('reports when %s', { timeout: 60_000 }, async (_, file, code, rule) => {
    expect(await reported(file, code)).toEqual([rule]);
  });

  it.each([
    ['postgres imports pg', 'libs/postgres/src/index.ts', use('pg')],
    ['standalone imports a service', 'services/standalone/src/index.ts', use('@dmb/microblog')],
    ['a service imports an adapter', source, use('@dmb/postgres')],
    ['a test imports testing', 'libs/testing/src/repository.test.ts', use('@dmb/protocol')],
  ])('lets pass that %s', { timeout: 60_000 }, async (_, file, code) => {
    expect(await reported(file, code)).toEqual([]);
  });
});
