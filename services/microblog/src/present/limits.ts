/** Bounds of presenting and reading. */
import { assertLimits } from '@dmb/runtime';

export const presentLimits = {
  /** Microblogs whose row, facets and counts are kept for a moment. */
  microblogsCachedMax: 20_000,
  /** How long. What they say may be this old; grants and roles never are. */
  microblogsCachedMs: 2_000,
  /** Pages of home that are kept while nothing is written, about 60 KB each. */
  pagesKeptMax: 300,
  /** Roles that are kept likewise. */
  rolesKeptMax: 10_000,
  /** Not for longer than this, come what may. */
  keptMs: 2_000,
  /** Posts whose body was read and whose HTML was made; they depend on the body alone. */
  postsCachedMax: 10_000,
  /** Ids that one call hydrates. */
  idsMax: 800,
  /** Askers, and ids of them all, that one call presents for. */
  liveAsksMax: 1_000,
  liveIdsMax: 4_000,
  /** Rows that one page of a list looks at until `limit` of them survive the rules. */
  rowsLookedAtMax: 800,
  /** Posts above one in a thread. */
  ancestorsMax: 60,
  /** Posts below one in a thread, for somebody who is logged in, and for the public. */
  descendantsMax: 400,
  descendantsPublicMax: 100,
  descendantsDepthMax: 25,
  /** Versions of one post that its history shows. */
  versionsMax: 200,
} as const;

assertLimits('presenting', {
  'descendantsPublicMax <= descendantsMax <= idsMax':
    presentLimits.descendantsPublicMax <= presentLimits.descendantsMax && presentLimits.descendantsMax <= presentLimits.idsMax,
});
