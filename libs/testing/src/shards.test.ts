import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';

/**
 * No statement crosses shards.
 *
 * `Databases.at` and `.group` take the shard; whoever uses them cannot reach two databases by one statement, and finds the rows wherever
 * the shard map has them. Two things get round that: `Databases.all`, which knows no shard, and a statement that names no
 * column of a shard. The compiler finds every one of them in the services, by its type and not by its name; each must be
 * in the lists below, with its reason. What is there goes through every database of the list and adds up, so it does not mind where a
 * shard lies either.
 */
const root = resolve(import.meta.dirname, '../../..');

/** Who goes through all databases, and why. */
const throughAll: Readonly<Record<string, string>> = {
  'services/fan-out/src/store/progress.ts nextParkedMs': 'the earliest of all parked logs',
  'services/fan-out/src/store/progress.ts sums': 'sums over all cursors',
  'services/fan-out/src/work/bulk.ts start': 'listens to each for jobs',
  'services/fan-out/src/work/bulk.ts pending': 'counts jobs',
  'services/fan-out/src/work/bulk.ts workAll': 'takes jobs from each',
  'services/fan-out/src/work/loss.ts start': 'removes old plans from each',
  'services/fan-out/src/work/loss.ts compare': 'the last position of each lane',
  'services/fan-out/src/work/loss.ts answer': 'makes jobs in each of what was delivered from there',
  'services/fan-out/src/work/repair.ts run': 'parked logs whose turn has come',
  'services/identity/src/store/persons.ts waiting': 'the operator sees who waits, wherever they are',
  'services/identity/src/store/persons.ts broken': 'sign-ups that were never finished',
  'services/identity/src/store/persons.ts count': 'counts persons',
  'services/identity/src/store/sessions.ts sweep': 'removes what has expired',
  'services/identity/src/store/tokens.ts sweep': 'removes what has expired',
  'services/microblog/src/append/appender.ts constructor': 'lanes for each; a lane belongs to one',
  'services/microblog/src/append/appender.ts startCleaning': 'removes keys that have expired',
  'services/microblog/src/events/consumer.ts repair': 'parked logs whose turn has come',
  'services/microblog/src/events/consumer.ts sweep': 'heads of each, and what they lack',
  'services/microblog/src/store/entries.ts publicTimeline': 'the public timeline is of everybody',
  'services/microblog/src/store/entries.ts tagged': 'a hashtag is of everybody',
  'services/microblog/src/store/entries.ts hashtags': 'hashtags are of everybody',
  'services/microblog/src/store/logs.ts merged': 'the few logs that are merged when reading',
  'services/microblog/src/store/logs.ts heads': 'a sweep names the database',
  'services/microblog/src/store/microblogs.ts search': 'a search is over everybody',
  'services/microblog/src/store/microblogs.ts totals': 'counts microblogs',
  'services/microblog/src/store/writes.ts observe': 'wraps each of them',
};

/** Statements that name no shard, and why. */
const withoutShard: Readonly<Record<string, string>> = {
  'services/fan-out/src/store/jobs.ts countSql': 'asked of each database',
  'services/fan-out/src/store/jobs.ts nextSql': 'asked of each database',
  'services/fan-out/src/store/plans.ts countSql': 'asked of each database',
  'services/fan-out/src/store/plans.ts positionsSql': 'asked of each database',
  'services/fan-out/src/store/plans.ts removedSql': 'asked of each database',
  'services/fan-out/src/store/plans.ts tidySql': 'old rows of each database',
  'services/fan-out/src/store/progress.ts nextSql': 'asked of each database',
  'services/identity/src/store/persons.ts broken': 'asked of each database',
  'services/identity/src/store/persons.ts count': 'asked of each database',
  'services/identity/src/store/persons.ts waiting': 'asked of each database',
  'services/identity/src/store/sessions.ts sweep': 'old rows of each database',
  'services/identity/src/store/tokens.ts sweep': 'old rows of each database',
  'services/microblog/src/append/appender.ts deleteExpiredKeys': 'old rows of each database',
  'services/microblog/src/append/lane.ts turnSql': 'locks, no rows',
  'services/microblog/src/events/consumer.ts repair': 'asked of each database',
  'services/microblog/src/store/entries.ts hashtags': 'asked of each database',
  'services/microblog/src/store/logs.ts merged': 'asked of each database',
  'services/microblog/src/store/microblogs.ts search': 'asked of each database',
};

interface Found {
  readonly place: string;
  readonly kind: 'all' | 'literal shard' | 'statement';
  readonly text: string;
}

const planted = join(root, 'services/microblog/src/planted.ts');
const plantedText = `
import type { Databases } from '@dmb/postgres';
export const one = async (databases: Databases) => databases.all.length;
export const two = ({ all }: Databases) => all.length;
export const three = (databases: Databases) => databases['all'].length;
export const four = (databases: Databases) => databases.at(7).query('SELECT 1 FROM entry');
`;

/** The nearest thing around a node that has a name. */
function placeOf(node: ts.Node, file: ts.SourceFile): string {
  let name = '';
  for (let at: ts.Node | undefined = node.parent; at !== undefined; at = at.parent) {
    if (ts.isConstructorDeclaration(at)) name = 'constructor';
    else if (ts.isMethodDeclaration(at) || ts.isFunctionDeclaration(at)) name = at.name?.getText(file) ?? '';
    else if (ts.isVariableDeclaration(at) && ts.isSourceFile(at.parent.parent.parent)) name = at.name.getText(file);
    else continue;
    break;
  }
  return `${file.fileName.slice(root.length + 1)} ${name.replace(/^#/, '')}`;
}

function search(): Found[] {
  const files = globSync('services/{identity,microblog,fan-out,timeline}/src/**/*.ts', { cwd: root })
    .filter((file) => !file.endsWith('.test.ts') && !file.endsWith('loader.ts'))
    .map((file) => join(root, file));
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    customConditions: ['source'],
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    experimentalDecorators: true,
    rewriteRelativeImportExtensions: true,
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => (name === planted ? plantedText : readFile.call(host, name));
  host.fileExists = (name) => name === planted || fileExists.call(host, name);
  host.getSourceFile = (name, ...rest) => (name === planted ? ts.createSourceFile(name, plantedText, ts.ScriptTarget.ES2023, true) : getSourceFile.call(host, name, ...rest));
  const program = ts.createProgram([...files, planted], options, host);
  const checker = program.getTypeChecker();
  const found: Found[] = [];
  const isOfDatabases = (node: ts.Node, member: string): boolean => {
    const declared = checker.getSymbolAtLocation(node)?.declarations?.[0];
    return declared !== undefined && ts.isClassDeclaration(declared.parent) && declared.parent.name?.text === 'Databases' && (declared as ts.PropertyDeclaration).name.getText() === member;
  };
  for (const file of program.getSourceFiles()) {
    if (file.fileName !== planted && !files.includes(file.fileName)) continue;
    const visit = (node: ts.Node): void => {
      const note = (kind: Found['kind']): void => void found.push({ place: placeOf(node, file), kind, text: node.getText(file).replace(/\s+/g, ' ').slice(0, 100) });
      if (ts.isPropertyAccessExpression(node) && node.name.text === 'all' && isOfDatabases(node.name, 'all')) note('all');
      if (ts.isElementAccessExpression(node) && isOfDatabases(node.argumentExpression, 'all')) note('all');
      if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent) && (node.propertyName ?? node.name).getText(file) === 'all') {
        if (checker.getTypeAtLocation(node.parent).symbol.name === 'Databases') note('all');
      }
      if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && isOfDatabases(node.expression.name, 'at') && node.arguments.some(ts.isNumericLiteral)) note('literal shard');
      if (ts.isNoSubstitutionTemplateLiteral(node) || ts.isStringLiteral(node) || ts.isTemplateExpression(node)) {
        const text = node.getText(file);
        if (/^[`'"]\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b/.test(text) && /\b(FROM|INTO|UPDATE)\b/.test(text) && !/shard/.test(text)) note('statement');
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return found;
}

describe('shards', () => {
  let all: Found[];
  let found: Found[];
  beforeAll(() => {
    all = search();
    found = all.filter(({ place }) => !place.startsWith('services/microblog/src/planted.ts'));
  }, 180_000);
  const placesOf = (kind: Found['kind']): string[] => [...new Set(found.filter((each) => each.kind === kind).map(({ place }) => place))].sort();

  it('are found out when somebody gets round them', () => {
    const kinds = all.filter((each) => !found.includes(each)).map(({ place, kind }) => `${place.split(' ')[1]} ${kind}`);
    expect(kinds).toEqual(['one all', 'two all', 'three all', 'four literal shard', 'four statement']);
    expect(readFileSync(join(root, 'libs/postgres/src/databases.ts'), 'utf8')).toContain('readonly all:');
  });

  it('lead to every database but where a reason is given', () => {
    expect(placesOf('all')).toEqual(Object.keys(throughAll).sort());
  });

  it('are never constants', () => {
    expect(placesOf('literal shard')).toEqual([]);
  });

  it('are named by every statement but where a reason is given', () => {
    expect(placesOf('statement')).toEqual(Object.keys(withoutShard).sort());
  });
});
