import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

/** What each layer may depend on. `testing` is no layer of the product: only test files may reach it. */
const visible = {
  protocol: [],
  events: ['protocol'],
  runtime: ['protocol', 'events'],
  adapter: ['protocol', 'events', 'runtime', 'adapter'],
  service: ['protocol', 'events', 'runtime', 'adapter'],
  composition: ['protocol', 'events', 'runtime', 'adapter', 'service'],
  testing: ['protocol', 'events', 'runtime', 'adapter'],
};

const boundaries = (alsoVisible, options = {}) => ({
  '@nx/enforce-module-boundaries': [
    'error',
    {
      allow: [],
      depConstraints: Object.entries(visible).map(([layer, layers]) => ({
        sourceTag: `layer:${layer}`,
        onlyDependOnLibsWithTags: [...layers, ...alsoVisible].map((target) => `layer:${target}`),
      })),
      ...options,
    },
  ],
});

/** Packages with one importer each: whoever needs what they do asks that library. */
const soleImporters = {
  pg: 'libs/postgres',
  'pg-copy-streams': 'libs/postgres',
  ioredis: 'libs/timelines',
  kafkajs: 'libs/event-log',
};

/** The environment is read in config.ts only, so that every variable is declared once. */
const environmentMessage = 'Read the environment in config.ts and pass the value on.';

const imports = ({ allowedIn, environment = false } = {}) => {
  const foreign = Object.entries(soleImporters).filter(([, owner]) => owner !== allowedIn);
  return {
    'no-restricted-imports': [
      'error',
      {
        patterns: foreign.map(([name, owner]) => ({
          regex: `^${name}(/|$)`,
          message: `Only ${owner} may import ${name}.`,
        })),
        paths: environment
          ? []
          : ['process', 'node:process'].map((name) => ({ name, importNames: ['env'], message: environmentMessage })),
      },
    ],
    'no-restricted-properties': environment
      ? 'off'
      : ['error', { object: 'process', property: 'env', message: environmentMessage }],
  };
};

export default tseslint.config(
  { ignores: ['**/node_modules/', '**/dist/', '**/.nx/', '**/data/', '**/coverage/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['{libs,services}/**/*.ts', 'load-tests/**/*.ts'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { '@typescript-eslint': tseslint.plugin, '@nx': nx },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      'no-console': 'error',
      ...boundaries([]),
      ...imports(),
    },
  },
  {
    files: ['{libs,services}/*/src/**/*.test.ts', '{libs,services}/*/test/**/*.ts'],
    rules: boundaries(['testing'], {
      // Package by package there is no cycle: `testing` needs a library, and only that library's tests need `testing`.
      ignoredCircularDependencies: ['protocol', 'events', 'runtime', 'adapter'].map((layer) => [
        `tag:layer:${layer}`,
        '@dmb/testing',
      ]),
    }),
  },
  // Benchmarks and load tests drive the program as tests do.
  { files: ['services/standalone/src/bench/**/*.ts', 'load-tests/**/*.ts'], rules: boundaries(['testing']) },
  // Tests start programs, and programs have an environment.
  { files: ['services/*/test/**/*.ts'], rules: imports({ environment: true }) },
  ...Object.values(soleImporters).map((owner) => ({
    files: [`${owner}/**/*.ts`],
    rules: imports({ allowedIn: owner }),
  })),
  {
    files: ['{libs,services}/*/src/**/config.ts', 'load-tests/src/config.ts', 'libs/testing/**/*.ts'],
    rules: imports({ environment: true }),
  },
  { files: ['{tools,.}/*.mjs'], rules: {} },
  { files: ['*.config.ts'], languageOptions: { parser: tseslint.parser } },
);
