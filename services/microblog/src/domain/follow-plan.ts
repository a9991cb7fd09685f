/**
 * What following makes of a person's two grants on a microblog: pure, settings and grants in, the next
 * happening out.
 *
 *   settings                  follow                                       authorize / reject
 *   locked                    asks for both logs                           both active / both ended
 *   open, all-followers       both active at once
 *   open, approved            public active, then asks for followers       followers active / ended
 *
 * Each step is one happening in the followed microblog's own log, and says the state that it leaves, so that
 * applying it twice changes nothing. A planner is asked again until it has no step left: so a follow
 * that died between two steps goes on where it was, and following again is the same as once.
 */
import type { HappeningBody } from '@dmb/protocol';
import type { Grant, GrantState, Microblog } from './model.ts';

export type FollowWhat = 'follow-asked' | 'follow-accepted' | 'follow-rejected' | 'follow-ended';

/** What is known before a step. */
export interface FollowFacts {
  readonly settings: Pick<Microblog, 'locked' | 'privateTo' | 'history'>;
  readonly public: Pick<Grant, 'state'> | undefined;
  readonly followers: Pick<Grant, 'state'> | undefined;
  /** Head of the followers log. */
  readonly followersHead: bigint;
}

/** What a grant becomes. */
export interface PlannedChange {
  readonly audience: 'public' | 'followers';
  readonly state: GrantState;
  readonly sees: boolean;
  readonly from: bigint;
}

/** One happening and what it changes; at least one change. */
export interface PlannedStep {
  readonly what: FollowWhat & HappeningBody['what'];
  readonly changes: readonly PlannedChange[];
}

export type FollowPlanner = (facts: FollowFacts) => PlannedStep | undefined;

/** The next step of following; undefined when nothing is left to do. */
export function planFollow(facts: FollowFacts): PlannedStep | undefined {
  const { settings } = facts;
  if (settings.locked) {
    const changes = [...change(facts, 'public', 'asked', ['active', 'asked']), ...change(facts, 'followers', 'asked', ['active', 'asked'])];
    return step('follow-asked', changes);
  }
  const open = change(facts, 'public', 'active', ['active']);
  if (settings.privateTo === 'all-followers') return step('follow-accepted', [...open, ...change(facts, 'followers', 'active', ['active'])]);
  return step('follow-accepted', open) ?? step('follow-asked', change(facts, 'followers', 'asked', ['active', 'asked']));
}

/** Ending a follow, or withdrawing what was asked. */
export function planEnd(facts: FollowFacts): PlannedStep | undefined {
  return step('follow-ended', [...change(facts, 'public', 'ended', ['ended', undefined]), ...change(facts, 'followers', 'ended', ['ended', undefined])]);
}

/** Accepting what was asked. */
export function planAuthorize(facts: FollowFacts): PlannedStep | undefined {
  return step('follow-accepted', [...change(facts, 'public', 'active', ['active', 'ended', undefined]), ...change(facts, 'followers', 'active', ['active', 'ended', undefined])]);
}

/** Rejecting what was asked; a public log that is followed already stays followed. */
export function planReject(facts: FollowFacts): PlannedStep | undefined {
  return step('follow-rejected', [...change(facts, 'public', 'ended', ['active', 'ended', undefined]), ...change(facts, 'followers', 'ended', ['active', 'ended', undefined])]);
}

/** Whether two plans are the same step; where exactly `from` lies may have moved meanwhile. */
export function isSameStep(a: PlannedStep | undefined, b: PlannedStep | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.what === b.what && a.changes.length === b.changes.length && a.changes.every(({ audience, state }, index) => audience === b.changes[index]?.audience && state === b.changes[index].state);
}

/** The change of one log to `state`, unless it is in one of the states to leave alone. */
function change(facts: FollowFacts, audience: PlannedChange['audience'], state: GrantState, leave: readonly (GrantState | undefined)[]): PlannedChange[] {
  if (leave.includes(facts[audience]?.state)) return [];
  const from = audience === 'followers' && state === 'active' && facts.settings.history === 'since-accept' ? facts.followersHead + 1n : 0n;
  return [{ audience, state, sees: state === 'active', from }];
}

function step(what: FollowWhat, changes: readonly PlannedChange[]): PlannedStep | undefined {
  return changes.length === 0 ? undefined : { what, changes };
}
