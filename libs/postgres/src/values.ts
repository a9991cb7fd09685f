/** How values cross between Postgres and us, decided once: exactly, or not at all. */
import pg from 'pg';

const { builtins } = pg.types;
/** Array types have no names in `builtins`. */
const arrays = { int8: 1016 } as const;

type Parser = (text: string) => unknown;

/** int8 as bigint: a number would lose the low digits of an id. */
const parsers = new Map<number, Parser>([
  [builtins.INT8, (text) => BigInt(text)],
  [arrays.int8, (text) => parseInt8Array(text)],
]);

/** The type parsers of every connection of ours. Binary results are not asked for. */
export const typeParsers: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format === 'binary' ? undefined : parsers.get(oid)) ?? pg.types.getTypeParser(oid, format as 'text')) as pg.CustomTypesConfig['getTypeParser'],
};

function parseInt8Array(text: string): unknown {
  // int8 has no character that needs quoting, so nested arrays are the only structure.
  return JSON.parse(text.replace(/[{}]/g, (brace) => (brace === '{' ? '[' : ']')).replace(/-?\d+/g, '"$&"').replaceAll('NULL', 'null'), (_, value: unknown) =>
    typeof value === 'string' ? BigInt(value) : value,
  );
}

/**
 * Parameters as pg takes them. `undefined` is refused: it would silently become NULL.
 * A JavaScript array is a Postgres array; for jsonb pass `json(value)`.
 */
export function toParameters(params: readonly unknown[]): unknown[] {
  return params.map((value, index) => {
    if (value === undefined) throw new TypeError(`parameter $${index + 1} is undefined; pass null where NULL is meant`);
    return value;
  });
}

/** A jsonb parameter. */
export function json(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => (typeof member === 'bigint' ? member.toString() : member));
}
