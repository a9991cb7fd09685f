import { describe, expect, it } from 'vitest';
import { isSameStep, planAuthorize, planEnd, planFollow, planReject, type FollowFacts, type FollowPlanner, type PlannedStep } from './follow-plan.ts';
import type { GrantState } from './model.ts';

const settings = (locked: boolean, privateTo: 'all-followers' | 'approved', history: 'all' | 'since-accept' = 'all'): FollowFacts['settings'] => ({ locked, privateTo, history });
const facts = (of: FollowFacts['settings'], publicState?: GrantState, followersState?: GrantState): FollowFacts => ({
  settings: of,
  public: publicState === undefined ? undefined : { state: publicState },
  followers: followersState === undefined ? undefined : { state: followersState },
  followersHead: 7n,
});
const brief = (step: PlannedStep | undefined): string => (step === undefined ? '' : `${step.what} ${step.changes.map(({ audience, state, from }) => `${audience}=${state}@${from}`).join(' ')}`);

/** All steps that a planner makes, and what they leave. */
function run(planner: FollowPlanner, start: FollowFacts): { readonly steps: string[]; readonly end: FollowFacts } {
  const steps: string[] = [];
  let now = start;
  for (let step = planner(now); step !== undefined; step = planner(now)) {
    steps.push(brief(step));
    if (steps.length > 3) throw new Error('it does not end');
    for (const { audience, state } of step.changes) now = { ...now, [audience]: { state } };
  }
  return { steps, end: now };
}

describe('following', () => {
  it.each([
    [settings(false, 'all-followers'), ['follow-accepted public=active@0 followers=active@0']],
    [settings(false, 'all-followers', 'since-accept'), ['follow-accepted public=active@0 followers=active@8']],
    [settings(false, 'approved'), ['follow-accepted public=active@0', 'follow-asked followers=asked@0']],
    [settings(true, 'all-followers'), ['follow-asked public=asked@0 followers=asked@0']],
    [settings(true, 'approved'), ['follow-asked public=asked@0 followers=asked@0']],
  ])('%j: %j', (of, steps) => {
    expect(run(planFollow, facts(of)).steps).toEqual(steps);
  });

  it('again changes nothing, whatever the settings', () => {
    for (const of of [settings(false, 'all-followers'), settings(false, 'approved'), settings(true, 'approved')]) {
      const { end } = run(planFollow, facts(of));
      expect(run(planFollow, end).steps).toEqual([]);
    }
  });

  it('after the lock was taken off accepts what was asked', () => {
    expect(run(planFollow, facts(settings(false, 'all-followers'), 'asked', 'asked')).steps).toEqual(['follow-accepted public=active@0 followers=active@0']);
  });

  it('again after it ended begins anew', () => {
    expect(run(planFollow, facts(settings(true, 'all-followers'), 'ended', 'ended')).steps).toEqual(['follow-asked public=asked@0 followers=asked@0']);
  });
});

describe('deciding', () => {
  it('accepts exactly what was asked', () => {
    expect(run(planAuthorize, facts(settings(true, 'approved', 'since-accept'), 'asked', 'asked')).steps).toEqual(['follow-accepted public=active@0 followers=active@8']);
    expect(run(planAuthorize, facts(settings(false, 'approved'), 'active', 'asked')).steps).toEqual(['follow-accepted followers=active@0']);
    expect(run(planAuthorize, facts(settings(true, 'approved'), 'ended', 'ended')).steps).toEqual([]);
    expect(run(planAuthorize, facts(settings(true, 'approved'))).steps).toEqual([]);
  });

  it('rejects what was asked and leaves what is followed', () => {
    expect(run(planReject, facts(settings(true, 'approved'), 'asked', 'asked')).steps).toEqual(['follow-rejected public=ended@0 followers=ended@0']);
    expect(run(planReject, facts(settings(false, 'approved'), 'active', 'asked')).steps).toEqual(['follow-rejected followers=ended@0']);
    expect(run(planReject, facts(settings(false, 'approved'), 'active', 'active')).steps).toEqual([]);
  });

  it('ends both, asked or active, once', () => {
    const { steps, end } = run(planEnd, facts(settings(false, 'approved'), 'active', 'asked'));
    expect(steps).toEqual(['follow-ended public=ended@0 followers=ended@0']);
    expect(run(planEnd, end).steps).toEqual([]);
    expect(run(planEnd, facts(settings(false, 'approved'))).steps).toEqual([]);
  });
});

it('knows a step again although the head has moved', () => {
  const before = planFollow(facts(settings(false, 'all-followers', 'since-accept')));
  const after = planFollow({ ...facts(settings(false, 'all-followers', 'since-accept')), followersHead: 9n });
  expect(isSameStep(before, after)).toBe(true);
  expect(isSameStep(before, planFollow(facts(settings(true, 'approved'))))).toBe(false);
  expect(isSameStep(before, undefined)).toBe(false);
});
