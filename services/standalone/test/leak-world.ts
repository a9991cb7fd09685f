/**
 * The world of the leak matrix: who looks, what there is, and who may see it.
 *
 * Everything here is made through the real program, as people would make it, and what cannot be
 * made that way yet (groups, facets, `shown`, withholding) in its tables. Each act is also noted
 * here as a fact: roles, grants, facets, recipients, numbers. Whether somebody may see something is
 * then asked of `canSee` and `edgeVisible` with these facts, and never of the server: an answer of
 * the server is compared with the rule, not with itself.
 *
 *   viewers   somebody anonymous, an app, and persons who stand to the microblogs in every way there is
 *   entries   posts of every visibility, in and outside of threads, edited, deleted, withheld, suspended
 *   facets    for every audience two microblogs (open, locked) that keep all facets but `exists` for it,
 *             and two that keep `exists` for it
 *
 * Each entry and each profile holds a *marker*, a word that is nowhere else. A leak is a marker in
 * an answer to somebody who may not see what it marks. A post has its marker as a hashtag, too (`#t…`).
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { canSee, edgeVisible, FACET_AUDIENCES, FACETS, shardOf, type Edge, type Facet, type FacetAudience, type Grant, type MicroblogId, type PersonId, type Relation, type Role, type Shown, type Viewer } from '@dmb/protocol';
import type { Account, Status } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import { eventually, formWith, registerApp, requestToken, signUp, Browser, TestClient, type App, type Member, type TestServer } from '@dmb/testing';

type Visibility = 'public' | 'unlisted' | 'private' | 'direct';

/** How long the program may remember facets and counts; what is written into tables is waited for this long. */
const rememberedMs = 2_100;
/** A token answers 300 requests in five minutes; some are made with it beside those that are counted here. */
const requestsPerTokenMax = 220;

/** Somebody who looks. A person looks as one microblog, named by its handle. */
export interface Looker {
  readonly name: string;
  readonly kind: 'anonymous' | 'app' | 'person';
  readonly person?: string;
  readonly microblog?: string;
  /** Looks only at what has to do with this microblog. */
  readonly only?: string;
  /** Stands to the microblogs that hide facets as everybody else does: they are looked at in lists alone. */
  readonly skipsFacets: boolean;
  /** The next request's token; undefined for none. */
  token(): Promise<string | undefined>;
}

/** A post, with the facts that decide who sees it. */
export interface Post {
  readonly marker: string;
  readonly microblog: string;
  readonly visibility: Visibility;
  readonly audience: 'public' | 'followers' | 'direct';
  /** In its log. */
  readonly number: bigint;
  /** The person. */
  readonly writer: string;
  /** Microblogs to which a direct post goes. */
  readonly recipients: readonly string[];
  readonly mentions: readonly string[];
  readonly parent: Post | undefined;
  readonly status: Status;
  /** Markers of earlier versions. */
  readonly before: string[];
  /** Of the current version. */
  current: string;
  isGone: boolean;
}

/** One microblog of the world. */
export interface Place {
  readonly handle: string;
  readonly account: Account;
  readonly id: MicroblogId;
  readonly isGroup: boolean;
  /** In title, note and fields. */
  readonly marker: string;
  readonly facets: Readonly<Partial<Record<Facet, FacetAudience>>>;
  isSuspended: boolean;
}

interface Follow extends Grant {
  readonly shown: Shown;
}

const marker = (): string => `zq${randomBytes(6).toString('hex')}`;
const everybody = Object.fromEntries(FACETS.map((facet) => [facet, 'everybody'])) as Record<Facet, FacetAudience>;
/** As a microblog begins. */
const ofNew: Readonly<Record<Facet, FacetAudience>> = { ...everybody, followers: 'contributors', following: 'contributors', contributors: 'contributors' };

export class World {
  readonly server: TestServer;
  readonly databases: Databases;
  readonly members = new Map<string, Member>();
  readonly places = new Map<string, Place>();
  readonly posts: Post[] = [];
  readonly lookers: Looker[] = [];
  readonly #roles = new Map<string, Role>();
  readonly #follows = new Map<string, Follow>();
  readonly #numbers = new Map<string, bigint>();
  readonly #toShow: { readonly person: string; readonly followed: string; readonly shown: Shown }[] = [];
  #app: App | undefined;

  constructor(server: TestServer, databases: Databases) {
    this.server = server;
    this.databases = databases;
  }

  // -- acts

  /** Signs up a person, with a personal microblog of the same name. */
  async person(name: string, options: { readonly locked?: boolean; readonly facets?: Partial<Record<Facet, FacetAudience>> } = {}): Promise<Member> {
    const member = await signUp(this.server.url, name);
    const mark = marker();
    const account = await member.client.request<Account>('PATCH', '/api/v1/accounts/update_credentials', {
      body: { display_name: `T${mark}`, note: `N${mark}`, locked: options.locked ?? false, fields_attributes: [{ name: `F${mark}`, value: `V${mark}` }] },
    });
    const rows = await this.sql<{ microblog_id: MicroblogId }>('SELECT microblog_id FROM microblog WHERE handle = $1', [name]);
    const id = rows[0]?.microblog_id ?? ('' as MicroblogId);
    const facets = { ...ofNew, ...options.facets };
    for (const [facet, audience] of Object.entries(options.facets ?? {})) await this.change(id, 'UPDATE access SET audience = $3 WHERE (log_shard, microblog_id) = ($1, $2) AND facet = $4', [audience, facet]);
    this.members.set(name, member);
    this.places.set(name, { handle: name, account, id, isGroup: false, marker: mark, facets, isSuspended: false });
    this.#roles.set(`${name}@${name}`, 'owner');
    return member;
  }

  /** Makes the personal microblog of somebody a group: their token acts as its owner from then on. */
  async makeGroup(name: string): Promise<void> {
    const place = this.place(name);
    await this.change(place.id, `UPDATE microblog SET kind = 'group', personal_of = NULL WHERE (log_shard, microblog_id) = ($1, $2)`, []);
    this.places.set(name, { ...place, isGroup: true });
  }

  /** Gives a person a role in a microblog, or takes it away. */
  async setRole(person: string, microblog: string, role: Role | undefined): Promise<void> {
    const { id } = this.place(microblog);
    const personId = await this.personId(person);
    const [shard, personShard] = [shardOf(id), shardOf(personId)];
    await this.databases.at(shard).execute('DELETE FROM contributor WHERE (log_shard, microblog_id, person_id) = ($1, $2, $3)', [shard, id, personId]);
    await this.databases.at(personShard).execute('DELETE FROM contribution WHERE (person_shard, person_id, microblog_id) = ($1, $2, $3)', [personShard, personId, id]);
    this.#roles.delete(`${person}@${microblog}`);
    if (role === undefined) return;
    await this.databases.at(shard).execute('INSERT INTO contributor (log_shard, microblog_id, person_id, person_shard, role) VALUES ($1, $2, $3, $4, $5)', [shard, id, personId, personShard, role]);
    await this.databases.at(personShard).execute('INSERT INTO contribution (person_shard, person_id, microblog_id, log_shard, role, personal) VALUES ($1, $2, $3, $4, $5, false)', [personShard, personId, id, shard, role]);
    this.#roles.set(`${person}@${microblog}`, role);
  }

  /** Follows; `fate` is what becomes of it. */
  async follow(person: string, followed: string, fate: 'accepted' | 'asked' | 'rejected' | 'unfollowed' | 'removed', shown: Shown = 'owner'): Promise<void> {
    const [follower, place] = [this.member(person), this.place(followed)];
    const owner = this.member(followed).client;
    const relation = await follower.client.follow(place.account.id);
    const isAsked = relation.requested;
    if (isAsked && fate !== 'asked' && fate !== 'rejected') await owner.request('POST', `/api/v1/follow_requests/${follower.account.id}/authorize`);
    if (fate === 'rejected') await owner.request('POST', `/api/v1/follow_requests/${follower.account.id}/reject`);
    if (fate === 'unfollowed') await follower.client.unfollow(place.account.id);
    if (fate === 'removed') await owner.request('POST', `/api/v1/accounts/${follower.account.id}/remove_from_followers`);
    const history = await this.sql<{ history: string }>('SELECT history FROM microblog WHERE microblog_id = $1', [place.id]);
    const fromNumber = history[0]?.history === 'since-accept' ? (this.#numbers.get(`${followed} followers`) ?? 0n) + 1n : 0n;
    const state = fate === 'accepted' ? 'active' : fate === 'asked' ? 'asked' : 'ended';
    this.#follows.set(`${person} ${followed}`, { state, sees: state === 'active', fromNumber, shown });
    if (shown !== 'owner') this.#toShow.push({ person, followed, shown });
  }

  /** Writes down to whom follows are shown, once nothing else writes them any more. */
  async show(): Promise<void> {
    for (const { person, followed, shown } of this.#toShow.splice(0)) {
      const [personId, { id }] = [await this.personId(person), this.place(followed)];
      await this.change(id, 'UPDATE grants SET shown = $3 WHERE log_shard = $1 AND reader_id = $4 AND log_id IN (SELECT log_id FROM log WHERE (log_shard, microblog_id) = ($1, $2))', [shown, personId]);
      await this.databases.at(shardOf(personId)).execute('UPDATE following SET shown = $1 WHERE person_id = $2 AND microblog_id = $3', [shown, personId, id]);
    }
  }

  /** Until every event has had its effects. */
  async drain(): Promise<void> {
    const left = await eventually(() => this.sql('SELECT seq FROM outbox'), 30_000);
    if (left.length > 0) throw new Error(`${left.length} events were not taken`);
  }

  /** Posts as a microblog; `by` is the person if that is not the microblog's own. */
  async post(microblog: string, visibility: Visibility, options: { readonly client?: TestClient; readonly by?: string; readonly parent?: Post; readonly mentions?: readonly string[] } = {}): Promise<Post> {
    const { client = this.member(microblog).client, by = microblog, parent, mentions = [] } = options;
    const mark = marker();
    const text = [mark, `#t${mark}`, ...mentions.map((handle) => `@${handle}`)].join(' ');
    const status = await client.post(text, { visibility, ...(parent === undefined ? {} : { inReplyTo: parent.status.id }) });
    const audience = visibility === 'private' ? 'followers' : visibility === 'direct' ? 'direct' : 'public';
    const post: Post = {
      marker: mark,
      microblog,
      visibility,
      audience,
      number: this.#next(microblog, audience),
      writer: by,
      recipients: visibility === 'direct' ? [microblog, ...mentions] : [],
      mentions,
      parent,
      status,
      before: [],
      current: mark,
      isGone: false,
    };
    this.posts.push(post);
    return post;
  }

  async edit(post: Post): Promise<void> {
    const next = marker();
    await this.member(post.microblog).client.request('PUT', `/api/v1/statuses/${post.status.id}`, { body: { status: `${next} #t${next}` } });
    this.#next(post.microblog, post.audience);
    post.before.push(post.current);
    post.current = next;
  }

  async delete(post: Post): Promise<void> {
    await this.member(post.microblog).client.request('DELETE', `/api/v1/statuses/${post.status.id}`);
    this.#next(post.microblog, post.audience);
    post.isGone = true;
  }

  /** Moderation takes a post away. */
  async withhold(post: Post): Promise<void> {
    for (const database of this.databases.all) {
      await database.execute(`INSERT INTO withheld (log_shard, log_id, epoch_no, number, by, reason) SELECT log_shard, log_id, epoch_no, number, 'test', 'test' FROM entry WHERE id = $1`, [post.status.id]);
    }
    post.isGone = true;
  }

  async suspend(microblog: string): Promise<void> {
    const place = this.place(microblog);
    await this.change(place.id, `UPDATE microblog SET state = 'suspended' WHERE (log_shard, microblog_id) = ($1, $2)`, []);
    place.isSuspended = true;
  }

  /** Waits until what was written into tables is what the program goes by. */
  async settle(): Promise<void> {
    await sleep(rememberedMs);
  }

  // -- lookers

  async look(name: string, as: { readonly person?: string; readonly microblog?: string; readonly only?: string; readonly kind?: 'anonymous' | 'app'; readonly skipsFacets?: boolean } = {}): Promise<Looker> {
    const { kind = 'person', person = name, microblog = person, only, skipsFacets = false } = as;
    const tokens: { readonly token: string; used: number }[] = [];
    const browser = new Browser(this.server.url);
    const more = async (): Promise<string> => {
      this.#app ??= await registerApp(this.server.url);
      if (kind === 'app') return (await requestToken(this.server.url, this.#app, { grant_type: 'client_credentials', scope: 'read' }) as unknown as { access_token: string }).access_token;
      if (tokens.length === 0 && microblog === person) return this.member(person).client.token ?? '';
      return await this.#authorize(browser, person, microblog);
    };
    let taking: Promise<unknown> = Promise.resolve();
    const take = async (): Promise<string> => {
      let last = tokens.at(-1);
      if (last === undefined || last.used >= requestsPerTokenMax) {
        const token = await more();
        tokens.push((last = { token, used: await this.#usedOf(token) }));
      }
      last.used++;
      return last.token;
    };
    const looker: Looker = {
      name,
      kind,
      ...(kind === 'person' ? { person, microblog } : {}),
      ...(only === undefined ? {} : { only }),
      skipsFacets,
      token: () => {
        if (kind === 'anonymous') return Promise.resolve(undefined);
        // One after the other: a browser has one person before it.
        const taken = taking.then(take);
        taking = taken.catch(() => undefined);
        return taken;
      },
    };
    this.lookers.push(looker);
    return looker;
  }

  /** Requests that a token has made: that of a member helped to make the world. */
  async #usedOf(token: string): Promise<number> {
    const { headers } = await new TestClient(this.server.url, token).raw('GET', '/api/v1/instance');
    const [limit, remaining] = ['x-ratelimit-limit', 'x-ratelimit-remaining'].map((name) => Number(headers.get(name)));
    if (limit === undefined || remaining === undefined || !(limit > requestsPerTokenMax)) throw new Error(`no limit is told: ${limit}`);
    return limit - remaining;
  }

  /** A further token of a person, through the pages. */
  async #authorize(browser: Browser, person: string, microblog: string): Promise<string> {
    const app = this.#app ?? (await registerApp(this.server.url));
    const query = new URLSearchParams({ response_type: 'code', client_id: app.clientId, redirect_uri: app.redirectUri, scope: app.scopes });
    let page = await browser.open(`/oauth/authorize?${query.toString()}`);
    if (page.forms.some(({ names }) => names.includes('password'))) page = await browser.submit(page, formWith(page, 'username', 'password'), { username: person, password: this.member(person).password });
    const consent = page.forms.find(({ action, method }) => method === 'post' && action.endsWith('/oauth/authorize'));
    if (consent === undefined) throw new Error(`no consent for ${person}: ${page.html.slice(0, 500)}`);
    const answer = await browser.submit(page, consent, { microblog: this.place(microblog).id }, 'let it in');
    const code = /<code\b[^>]*>([\w-]{20,})</.exec(answer.html)?.[1] ?? '';
    const token = (await requestToken(this.server.url, app, { grant_type: 'authorization_code', code })) as unknown as { readonly access_token: string };
    return token.access_token;
  }

  // -- the rule

  viewerOf({ kind, person, microblog }: Looker): Viewer {
    // canSee compares ids and asks nothing else of them: names serve as well.
    return kind === 'person' ? { kind, person: person as PersonId, microblog: microblog as MicroblogId } : { kind };
  }

  /** Whether a post may be seen now; `ever`, whether it might before it was deleted, withheld or suspended. */
  seesPost(looker: Looker, post: Post, ever = false): boolean {
    const isSuspended = !ever && this.place(post.microblog).isSuspended;
    const relation: Relation = {
      ...this.relation(looker, post.microblog),
      ...(post.writer === looker.person ? { isAuthor: true } : {}),
      ...(looker.microblog !== undefined && post.recipients.includes(looker.microblog) ? this.#recipient(looker) : {}),
    };
    const entry = canSee(this.viewerOf(looker), { kind: 'entry', audience: post.audience, relation, withheld: !ever && post.isGone, suspended: isSuspended, number: post.number });
    // Its author stands beside it.
    return entry && this.seesFacet(looker, post.microblog, 'exists', ever);
  }

  seesFacet(looker: Looker, microblog: string, facet: Facet, ever = false): boolean {
    const place = this.place(microblog);
    return canSee(this.viewerOf(looker), { kind: 'facet', facet, audience: place.facets[facet], relation: this.relation(looker, microblog), suspended: !ever && place.isSuspended });
  }

  /** Whether somebody may see that `person` follows `followed`, in a list or outside of one. */
  seesEdge(looker: Looker, person: string, followed: string, list: 'followers' | 'following' | undefined): boolean {
    const follow = this.#follows.get(`${person} ${followed}`);
    if (follow?.state !== 'active') return false;
    const side = (microblog: string): Edge['follower'] => ({ exists: this.place(microblog).facets.exists, relation: this.relation(looker, microblog), suspended: this.place(microblog).isSuspended });
    const audience = list === undefined ? undefined : this.place(list === 'followers' ? followed : person).facets[list];
    return edgeVisible(this.viewerOf(looker), { shown: follow.shown, follower: side(person), followed: side(followed), list: list === undefined ? undefined : { facet: list, audience } });
  }

  /** Whether what a microblog posts belongs into the home of this viewer. */
  follows(looker: Looker, microblog: string): boolean {
    if (looker.kind !== 'person') return false;
    if (looker.microblog === microblog) return true;
    return this.#isPersonal(looker) && this.#follows.get(`${looker.person ?? ''} ${microblog}`)?.state === 'active';
  }

  relation(looker: Looker, microblog: string): Relation {
    if (looker.kind !== 'person') return {};
    const role = looker.microblog === microblog ? this.#roles.get(`${looker.person ?? ''}@${microblog}`) : undefined;
    // Under the name of a group nobody reads what its contributors privately follow.
    const follow = this.#isPersonal(looker) ? this.#follows.get(`${looker.person ?? ''} ${microblog}`) : undefined;
    const own: Grant | undefined = this.#isPersonal(looker) && looker.microblog === microblog ? { state: 'active', sees: true, fromNumber: 0n } : undefined;
    const grant = own ?? follow;
    return { ...(role === undefined ? {} : { role }), ...(grant === undefined ? {} : { grant }) };
  }

  // -- looking things up

  place(handle: string): Place {
    const place = this.places.get(handle);
    if (place === undefined) throw new Error(`there is no microblog ${handle}`);
    return place;
  }

  member(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`there is nobody called ${name}`);
    return member;
  }

  ofMicroblog(microblog: string): Post[] {
    return this.posts.filter((post) => post.microblog === microblog);
  }

  repliesTo(post: Post): Post[] {
    return this.posts.filter(({ parent }) => parent === post);
  }

  /** Persons who follow a microblog, accepted. */
  followersOf(microblog: string): string[] {
    return [...this.#follows].filter(([key, { state }]) => key.endsWith(` ${microblog}`) && state === 'active').map(([key]) => key.split(' ')[0] ?? '');
  }

  followedBy(person: string): string[] {
    return [...this.#follows].filter(([key, { state }]) => key.startsWith(`${person} `) && state === 'active').map(([key]) => key.split(' ')[1] ?? '');
  }

  requestersOf(microblog: string): string[] {
    return [...this.#follows].filter(([key, { state }]) => key.endsWith(` ${microblog}`) && state === 'asked').map(([key]) => key.split(' ')[0] ?? '');
  }

  async personId(name: string): Promise<PersonId> {
    // A group is nobody's: its first owner is asked for by the role.
    const rows = await this.sql<{ person_id: PersonId }>(`SELECT c.person_id FROM contributor c JOIN microblog m USING (log_shard, microblog_id) WHERE m.handle = $1 AND c.role = 'owner'`, [name]);
    const id = rows[0]?.person_id;
    if (id === undefined) throw new Error(`no person owns ${name}`);
    return id;
  }

  /** Rows of all databases. */
  async sql<Row extends object>(text: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return (await Promise.all(this.databases.all.map((database) => database.query<Row>(text, [...parameters])))).flat();
  }

  /** Changes rows of a microblog; its shard and id are the first two parameters. */
  async change(id: MicroblogId, text: string, parameters: readonly unknown[]): Promise<void> {
    await this.databases.at(shardOf(id)).execute(text, [shardOf(id), id, ...parameters]);
  }

  #recipient(looker: Looker): Pick<Relation, 'recipientAs'> {
    const role = this.#roles.get(`${looker.person ?? ''}@${looker.microblog ?? ''}`);
    return role === undefined ? {} : { recipientAs: role };
  }

  #isPersonal({ person, microblog }: Looker): boolean {
    return person !== undefined && person === microblog && !this.place(person).isGroup;
  }

  #next(microblog: string, audience: string): bigint {
    const key = `${microblog} ${audience}`;
    const number = (this.#numbers.get(key) ?? 0n) + 1n;
    this.#numbers.set(key, number);
    return number;
  }
}

/** Whether a microblog is one of {@link facetPlaces}. */
export const hidesFacets = (handle: string): boolean => /^[fx]v_/.test(handle);

/** Microblogs that keep facets for an audience: all but `exists` (`fv`), or `exists` alone (`xv`). */
export const facetPlaces = (['fv', 'xv'] as const).flatMap((kind) =>
  FACET_AUDIENCES.flatMap((audience) =>
    (['open', 'locked'] as const).map((door) => ({
      handle: `${kind}_${audience.replace('-', '_')}_${door}`,
      locked: door === 'locked',
      facets: kind === 'xv' ? { ...everybody, exists: audience } : { ...(Object.fromEntries(FACETS.map((facet) => [facet, audience])) as Record<Facet, FacetAudience>), exists: 'everybody' as const },
    })),
  ),
);

/** Makes everybody and everything. Streams are opened by `listen`, after everybody knows everybody and before the first post. */
export async function populate(world: World, listen: () => Promise<void>): Promise<void> {
  const people = ['oda', 'lola', 'gruppe', 'sine', 'susi', 'fay', 'shy', 'fanny', 'petra', 'exa', 'remo', 'rejan', 'mina', 'una', 'late', 'edi', 'autor', 'colin'];
  for (const name of people) await world.person(name, { locked: name === 'lola' });
  for (const { handle, ...options } of facetPlaces) await world.person(handle, options);
  await world.change(world.place('sine').id, `UPDATE microblog SET history = 'since-accept' WHERE (log_shard, microblog_id) = ($1, $2)`, []);
  // It has to be known to be followed.
  const known = facetPlaces.filter(({ facets }) => facets.exists === 'followers').map(({ handle }) => world.place(handle).id);
  for (const id of known) await world.change(id, `UPDATE access SET audience = 'everybody' WHERE (log_shard, microblog_id) = ($1, $2) AND facet = 'exists'`, []);
  await world.makeGroup('gruppe');
  await world.setRole('edi', 'gruppe', 'editor');
  await world.setRole('autor', 'gruppe', 'author');
  await world.setRole('colin', 'gruppe', 'editor');
  await world.settle();

  for (const microblog of ['oda', 'lola', 'gruppe', 'susi'] as const) await world.follow('fay', microblog, 'accepted');
  await world.follow('fay', 'sine', 'accepted');
  await world.follow('lola', 'fay', 'accepted');
  await world.follow('fanny', 'fay', 'accepted');
  await world.follow('petra', 'lola', 'asked');
  await world.follow('rejan', 'lola', 'rejected');
  // What ends while a stream is open has to end in the stream, too.
  for (const microblog of ['oda', 'lola'] as const) {
    await world.follow('exa', microblog, 'accepted');
    await world.follow('remo', microblog, 'accepted');
  }
  for (const { handle } of facetPlaces.filter(({ facets }) => facets.exists !== 'nobody' && facets.exists !== 'contributors')) {
    await world.follow('fay', handle, 'accepted', 'everybody');
    await world.follow('shy', handle, 'accepted');
    await world.follow(handle, 'oda', 'accepted', 'everybody');
  }
  for (const id of known) await world.change(id, `UPDATE access SET audience = 'followers' WHERE (log_shard, microblog_id) = ($1, $2) AND facet = 'exists'`, []);
  await world.settle();

  await world.look('anonymous', { kind: 'anonymous' });
  await world.look('app', { kind: 'app', skipsFacets: true });
  for (const name of ['fay', 'una']) await world.look(name);
  for (const name of ['oda', 'lola', 'fanny', 'petra', 'exa', 'remo', 'rejan', 'mina', 'late', 'gruppe', 'edi']) await world.look(name, { skipsFacets: true });
  for (const person of ['edi', 'autor', 'colin']) await world.look(`${person} as gruppe`, { person, microblog: 'gruppe', skipsFacets: true });
  for (const { handle } of facetPlaces) await world.look(handle, { only: handle });
  // What is followed has to be known before anybody listens.
  await world.drain();
  await listen();

  for (const microblog of ['oda', 'lola'] as const) {
    await world.follow('exa', microblog, 'unfollowed');
    await world.follow('remo', microblog, 'removed');
  }
  await world.post('sine', 'private');
  await world.post('sine', 'private');
  await world.follow('late', 'sine', 'accepted');
  await world.post('sine', 'private');

  const clientOf = async (name: string): Promise<TestClient> => new TestClient(world.server.url, await world.lookers.find((looker) => looker.name === name)?.token());
  await world.post('gruppe', 'private', { by: 'autor', client: await clientOf('autor as gruppe') });
  await world.post('gruppe', 'direct', { by: 'autor', client: await clientOf('autor as gruppe'), mentions: ['mina'] });
  await world.post('gruppe', 'direct', { by: 'gruppe', mentions: ['mina'] });
  await world.post('gruppe', 'public');

  for (const microblog of ['oda', 'lola'] as const) {
    for (const visibility of ['public', 'unlisted', 'private', 'direct'] as const) {
      await world.post(microblog, visibility);
      await world.post(microblog, visibility, { mentions: ['mina'] });
      if (visibility === 'unlisted') continue;
      await world.edit(await world.post(microblog, visibility));
      await world.delete(await world.post(microblog, visibility));
      if (visibility !== 'direct') await world.withhold(await world.post(microblog, visibility));
    }
    await world.delete(await editedPost(world, microblog));
    // Threads: each audience below each that is as wide.
    const root = await world.post(microblog, 'public', { mentions: ['mina'] });
    const under = await world.post('fay', 'private', { parent: root, mentions: [microblog] });
    await world.post('una', 'public', { parent: root });
    await world.post(microblog, 'unlisted', { parent: root });
    await world.post(microblog, 'direct', { parent: root, mentions: ['mina'] });
    await world.post('fanny', 'private', { parent: under });
    const closed = await world.post(microblog, 'private', { mentions: ['fay', 'mina'] });
    await world.post(microblog, 'private', { parent: closed });
    const answer = await world.post('fay', 'private', { parent: closed, mentions: [microblog] });
    await world.post('fanny', 'direct', { parent: answer, mentions: ['fay'] });
    if (microblog === 'lola') await world.post('lola', 'private', { parent: answer });
    await world.delete(await world.post(microblog, 'private', { parent: closed }));
  }
  await world.post('susi', 'public');
  await world.post('susi', 'private');
  for (const { handle } of facetPlaces) {
    if (world.place(handle).facets.exists === 'nobody') continue;
    await world.post(handle, 'public');
    await world.post(handle, 'unlisted');
    await world.post(handle, 'private');
  }
  await world.setRole('colin', 'gruppe', undefined);
  await world.suspend('susi');
  await world.drain();
  await world.show();
  await world.settle();
}

async function editedPost(world: World, microblog: string): Promise<Post> {
  const post = await world.post(microblog, 'public');
  await world.edit(post);
  return post;
}
