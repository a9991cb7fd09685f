/**
 * A real client library (masto.js, under Elk and Phanpy) on its whole journey through the real
 * program: the library decides what is sent and what it can read, the pages are used as a browser
 * does. The same journey for one process and for a cluster.
 */
import { createOAuthAPIClient, createRestAPIClient, createStreamingAPIClient, type mastodon, MastoHttpError } from 'masto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { authorize, Browser, eventually, formWith } from '@dmb/testing';

type Client = mastodon.rest.Client;
type Status = mastodon.v1.Status;

const redirectUri = 'https://client.example/oauth/https%3A%2F%2Fclient.example';
const scopes = 'read write follow push';

/** A server whose journey this is. */
export interface JourneyServer {
  readonly url: string;
  readonly port: number;
  /** What it wrote to its log; nothing, while all is well. */
  readonly complaints: string;
  dispose(): Promise<void>;
}

let server: JourneyServer;
const complaints = [vi.spyOn(console, 'warn'), vi.spyOn(console, 'error')];

const connect = (accessToken?: string): Client =>
  createRestAPIClient({ url: server.url, ...(accessToken === undefined ? {} : { accessToken }), requestInit: { headers: { 'x-forwarded-for': `10.1.1.${Math.ceil(Math.random() * 250)}` } } });

/** The status and text of the error that a call ends with. */
async function refusal(call: PromiseLike<unknown>): Promise<{ status: number; message: string }> {
  try {
    await call;
  } catch (error) {
    if (error instanceof MastoHttpError) return { status: error.statusCode, message: error.message };
    throw error;
  }
  throw new Error('it was not refused');
}

/** Nothing, once a client's token is refused. */
const stillWorks = (client: Client): Promise<string[]> => client.v1.accounts.verifyCredentials().then(
  () => ['the token still works'],
  (error: unknown) => (error instanceof MastoHttpError && error.statusCode === 401 ? [] : [String(error)]),
);

const ids = (statuses: readonly { readonly id: string }[]): string[] => statuses.map(({ id }) => id);

/** Everything that a list has, by following the Link headers. */
async function pagesOf<T>(list: AsyncIterable<T[]>): Promise<T[][]> {
  const pages: T[][] = [];
  for await (const page of list) pages.push(page);
  return pages;
}

interface Someone {
  readonly client: Client;
  readonly token: string;
  readonly account: mastodon.v1.CredentialAccount;
}

/** By the library alone. */
async function signUp(username: string): Promise<Someone> {
  const anybody = connect();
  const app = await anybody.v1.apps.create({ clientName: 'masto.js', redirectUris: redirectUri, scopes });
  const oauth = createOAuthAPIClient({ url: server.url });
  const { accessToken } = await oauth.token.create({ grantType: 'client_credentials', clientId: app.clientId ?? '', clientSecret: app.clientSecret ?? '', redirectUri, scope: scopes });
  const token = await connect(accessToken).v1.accounts.create({ username, password: `${username} and seven more`, email: `${username}@example.org`, agreement: true, locale: 'en' });
  const client = connect(token.accessToken);
  return { client, token: token.accessToken, account: await client.v1.accounts.verifyCredentials() };
}

let alice: Someone;
let bob: Someone;
let carol: Someone;

/** The journey, on what `start` starts. */
export function mastoJourney(start: () => Promise<JourneyServer>): void {
  describe('masto.js', () => {
    beforeAll(async () => {
      server = await start();
    });
    afterAll(async () => {
      await server?.dispose();
    });

    it('learns what the server is', async () => {
      const instance = await connect().v2.instance.fetch();
      expect(instance.domain).toBe(`localhost:${server.port}`);
      expect(instance.configuration.urls.streaming).toBe(`ws://localhost:${server.port}`);
      expect(instance.configuration.statuses.maxCharacters).toBe(500);
      expect(instance.registrations.enabled).toBe(true);
      expect(instance.version).toMatch(/^\d+\.\d+\.\d+ \(compatible; DMB \d+\.\d+\.\d+\)$/);
      expect((await connect().v1.instance.fetch()).uri).toBe(`localhost:${server.port}`);
    });

    it('registers an app, is let in through the pages, and gets a token for the code', async () => {
      const app = await connect().v1.apps.create({ clientName: 'Journey', redirectUris: redirectUri, scopes, website: 'https://client.example' });
      const registered = { clientId: app.clientId ?? '', clientSecret: app.clientSecret ?? '', redirectUri, scopes };
      expect(registered.clientId.length + registered.clientSecret.length).toBeLessThanOrEqual(1_500);

      // Somebody new: signs up at the page, and is then asked for consent.
      const browser = new Browser(server.url);
      const page = await browser.open('/sign-up');
      const member = { handle: 'alice', password: 'alice and seven more' };
      expect((await browser.submit(page, formWith(page, 'username', 'password'), { username: member.handle, password: member.password, display_name: 'Alice' })).status).toBe(200);
      const code = await authorize(browser, registered, member, { state: 'a b&c', force_login: 'false', lang: 'en' });

      const oauth = createOAuthAPIClient({ url: server.url });
      const grant = { grantType: 'authorization_code', clientId: registered.clientId, clientSecret: registered.clientSecret, redirectUri, code } as const;
      const token = await oauth.token.create(grant);
      expect(token).toMatchObject({ tokenType: 'Bearer', scope: scopes });
      const client = connect(token.accessToken);
      alice = { client, token: token.accessToken, account: await client.v1.accounts.verifyCredentials() };
      expect(alice.account).toMatchObject({ username: 'alice', acct: 'alice', displayName: 'Alice', locked: false, url: `${server.url}/@alice` });
      expect(alice.account.source).toMatchObject({ privacy: 'public', followRequestsCount: 0 });

      // The code works once, and using it again takes away what it gave; a token may be remembered for 5 s.
      expect(await refusal(oauth.token.create(grant))).toMatchObject({ status: 400 });
      expect(await eventually(() => stillWorks(client))).toEqual([]);
      const again = await oauth.token.create({ ...grant, code: await authorize(browser, registered, member) });
      alice = { client: connect(again.accessToken), token: again.accessToken, account: alice.account };
      expect((await alice.client.v1.apps.verifyCredentials()).name).toBe('Journey');
    });

    it('signs up by itself', async () => {
      [bob, carol] = [await signUp('bob'), await signUp('carol')];
      expect(bob.account.acct).toBe('bob');
      expect(await refusal(signUp('bob'))).toMatchObject({ status: 422 });
    });

    it('posts, replies, and reads the thread', async () => {
      const first = await alice.client.v1.statuses.create({ status: 'Hello @bob, see https://example.org/a?b=c #greetings', language: 'en' });
      expect(first).toMatchObject({ visibility: 'public', language: 'en', account: { acct: 'alice' } });
      expect(first.url).toBe(`${server.url}/@alice/${first.id}`);
      expect(first.content).toContain('href="https://example.org/a?b=c"');
      expect(first.mentions).toMatchObject([{ acct: 'bob', id: bob.account.id }]);
      expect(first.tags).toMatchObject([{ name: 'greetings' }]);
      const reply = await bob.client.v1.statuses.create({ status: '@alice hello', inReplyToId: first.id });
      const second = await alice.client.v1.statuses.create({ status: '@bob how are you?', inReplyToId: reply.id });
      expect(second).toMatchObject({ inReplyToId: reply.id, inReplyToAccountId: bob.account.id });

      // Replies stand beside their parents as soon as the consumer has been there.
      const problems = await eventually(async () => {
        const { descendants } = await alice.client.v1.statuses.$select(reply.id).context.fetch();
        const { repliesCount } = await connect().v1.statuses.$select(first.id).fetch();
        return [...(repliesCount === 1 ? [] : ['not counted yet']), ...(descendants.length === 1 ? [] : ['not in the thread yet'])];
      });
      expect(problems).toEqual([]);
      const context = await alice.client.v1.statuses.$select(reply.id).context.fetch();
      expect(ids(context.ancestors)).toEqual([first.id]);
      expect(ids(context.descendants)).toEqual([second.id]);
      expect(ids((await connect().v1.statuses.$select(first.id).context.fetch()).descendants)).toEqual([reply.id, second.id]);
    });

    it('repeats a post under its key without doubling it', async () => {
      const post = (): Promise<Status> => bob.client.v1.statuses.create({ status: 'once' }, { requestInit: { headers: { 'Idempotency-Key': 'same' } } });
      const [one, two] = await Promise.all([post(), post()]);
      expect(two.id).toBe(one.id);
      expect((await post()).id).toBe(one.id);
    });

    it('edits a post, and sees its source and history', async () => {
      const { id } = await bob.client.v1.statuses.create({ status: 'first <b>text</b>', spoilerText: 'careful' });
      const edited = await bob.client.v1.statuses.$select(id).update({ status: 'second text', spoilerText: '' });
      expect(edited.id).toBe(id);
      expect(edited.content).toBe('<p>second text</p>');
      expect(edited.editedAt).not.toBeNull();
      expect(await bob.client.v1.statuses.$select(id).source.fetch()).toMatchObject({ id, text: 'second text', spoilerText: '' });
      const history = await connect().v1.statuses.$select(id).history.list();
      expect(history.map(({ content }) => content)).toEqual(['<p>first &lt;b&gt;text&lt;/b&gt;</p>', '<p>second text</p>']);
      expect(await refusal(alice.client.v1.statuses.$select(id).update({ status: 'not mine' }))).toMatchObject({ status: expect.toSatisfy((status) => status === 403 || status === 404) as number });
    });

    it('follows, is told so, and reads the posts at home', async () => {
      expect(await carol.client.v1.accounts.$select(bob.account.id).follow()).toMatchObject({ id: bob.account.id, following: true, requested: false });
      expect(await carol.client.v1.accounts.relationships.fetch({ id: [bob.account.id, alice.account.id] })).toMatchObject([
        { id: bob.account.id, following: true, followedBy: false },
        { id: alice.account.id, following: false },
      ]);
      const { id } = await bob.client.v1.statuses.create({ status: 'for my followers', visibility: 'private' });
      expect(await eventually(async () => (ids(await carol.client.v1.timelines.home.list()).includes(id) ? [] : ['not at home']))).toEqual([]);
      expect(ids(await carol.client.v1.accounts.$select(bob.account.id).statuses.list())).toContain(id);
      expect(await eventually(async () => ((await bob.client.v1.notifications.list()).some(({ type, account }) => type === 'follow' && account.id === carol.account.id) ? [] : ['no notification']))).toEqual([]);
      expect(ids(await bob.client.v1.accounts.$select(bob.account.id).followers.list())).toEqual([carol.account.id]);
      expect(ids(await carol.client.v1.accounts.$select(carol.account.id).following.list())).toEqual([bob.account.id]);

      expect(await carol.client.v1.accounts.$select(bob.account.id).unfollow()).toMatchObject({ following: false });
      expect(await eventually(async () => (ids(await carol.client.v1.timelines.home.list()).includes(id) ? ['still at home'] : []))).toEqual([]);
      expect(await refusal(carol.client.v1.statuses.$select(id).fetch())).toMatchObject({ status: 404 });
      await carol.client.v1.accounts.$select(bob.account.id).follow();
    });

    it('hears of mentions and replies', async () => {
      const types = async (): Promise<string[]> => (await bob.client.v1.notifications.list({ types: ['mention'] })).map((each) => `${each.type} ${each.account.acct}`);
      expect(await eventually(async () => ((await types()).length >= 2 ? [] : ['not yet']))).toEqual([]);
      expect(new Set(await types())).toEqual(new Set(['mention alice']));
      const [newest] = await bob.client.v1.notifications.list({ limit: 1 });
      expect((await bob.client.v1.notifications.$select(newest?.id ?? '').fetch()).id).toBe(newest?.id);
      expect(await bob.client.v1.notifications.list({ excludeTypes: ['mention', 'follow'] })).toEqual([]);
    });

    it('asks a locked account, which lets in and turns away', async () => {
      expect(await alice.client.v1.accounts.updateCredentials({ locked: true, note: 'By request.' })).toMatchObject({ locked: true });
      const { id } = await alice.client.v1.statuses.create({ status: 'behind the lock', visibility: 'private' });
      for (const person of [bob, carol]) {
        expect(await person.client.v1.accounts.$select(alice.account.id).follow()).toMatchObject({ following: false, requested: true });
      }
      expect(await refusal(bob.client.v1.statuses.$select(id).fetch())).toMatchObject({ status: 404 });
      expect(new Set(ids(await alice.client.v1.followRequests.list()))).toEqual(new Set([bob.account.id, carol.account.id]));
      expect(await eventually(async () => ((await alice.client.v1.notifications.list({ types: ['follow_request'] })).length === 2 ? [] : ['not told yet']))).toEqual([]);
      expect((await alice.client.v1.accounts.verifyCredentials()).source.followRequestsCount).toBe(2);

      expect(await alice.client.v1.followRequests.$select(bob.account.id).authorize()).toMatchObject({ followedBy: true, requestedBy: false });
      expect(await alice.client.v1.followRequests.$select(carol.account.id).reject()).toMatchObject({ followedBy: false, requestedBy: false });
      expect(await alice.client.v1.followRequests.list()).toEqual([]);
      expect((await bob.client.v1.statuses.$select(id).fetch()).id).toBe(id);
      expect(await bob.client.v1.accounts.relationships.fetch({ id: [alice.account.id] })).toMatchObject([{ following: true, requested: false }]);
      expect(await carol.client.v1.accounts.relationships.fetch({ id: [alice.account.id] })).toMatchObject([{ following: false, requested: false }]);
      expect(await refusal(carol.client.v1.statuses.$select(id).fetch())).toMatchObject({ status: 404 });
      expect(await eventually(async () => (ids(await bob.client.v1.timelines.home.list()).includes(id) ? [] : ['not merged']))).toEqual([]);
      await alice.client.v1.accounts.updateCredentials({ locked: false });
    });

    it('shows each visibility to exactly those whom it is for', async () => {
      // bob follows alice and carol does not; nobody is a stranger with and one without an account.
      const made = new Map<string, Status>();
      for (const visibility of ['public', 'unlisted', 'private', 'direct'] as const) {
        made.set(visibility, await alice.client.v1.statuses.create({ status: visibility === 'direct' ? '@carol only for you' : `for ${visibility}`, visibility }));
      }
      const anybody = connect();
      const sees = async (client: Client): Promise<string[]> => {
        const seen: string[] = [];
        for (const [visibility, { id }] of made) {
          const direct = await client.v1.statuses.$select(id).fetch().then(() => true, (error: unknown) => {
            if (error instanceof MastoHttpError && error.statusCode === 404) return false;
            throw error;
          });
          const listed = ids(await client.v1.accounts.$select(alice.account.id).statuses.list()).includes(id);
          // Direct posts are found by their notification, and need not stand in the list.
          if (listed || visibility !== 'direct') expect(listed, `${visibility} by itself and in the list`).toBe(direct);
          if (direct) seen.push(visibility);
        }
        return seen;
      };
      expect(await sees(alice.client)).toEqual(['public', 'unlisted', 'private', 'direct']);
      expect(await sees(bob.client)).toEqual(['public', 'unlisted', 'private']);
      expect(await sees(carol.client)).toEqual(['public', 'unlisted', 'direct']);
      expect(await sees(anybody)).toEqual(['public', 'unlisted']);

      const inPublic = ids(await anybody.v1.timelines.public.list());
      expect([...made].filter(([, { id }]) => inPublic.includes(id)).map(([visibility]) => visibility)).toEqual(['public']);
      expect(await eventually(async () => {
        const home = ids(await bob.client.v1.timelines.home.list());
        return [...made].filter(([, { id }]) => home.includes(id)).map(([visibility]) => visibility).join() === 'public,unlisted,private' ? [] : ['not at home'];
      })).toEqual([]);
      expect(await eventually(async () => ((await carol.client.v1.notifications.list({ types: ['mention'] })).some(({ status }) => status?.id === made.get('direct')?.id) ? [] : ['not told']))).toEqual([]);
    });

    it('finds accounts and posts', async () => {
      expect((await carol.client.v1.accounts.lookup({ acct: 'ALICE' })).id).toBe(alice.account.id);
      expect((await connect().v1.accounts.lookup({ acct: `alice@localhost:${server.port}` })).id).toBe(alice.account.id);
      const found = await carol.client.v2.search.list({ q: '@alice', resolve: true });
      expect(ids(found.accounts)).toEqual([alice.account.id]);
      expect(found).toMatchObject({ statuses: [], hashtags: [] });
      const [post] = await connect().v1.accounts.$select(alice.account.id).statuses.list({ limit: 1 });
      expect(ids((await carol.client.v2.search.list({ q: post?.url ?? '', resolve: true, type: 'statuses' })).statuses)).toEqual([post?.id]);
      expect(await refusal(connect().v1.accounts.lookup({ acct: 'nobody' }))).toMatchObject({ status: 404 });
      expect(await connect().v1.accounts.$select(alice.account.id).statuses.list({ pinned: true })).toEqual([]);
    });

    it('keeps a place for reading on', async () => {
      expect(await bob.client.v1.markers.fetch({ timeline: ['home', 'notifications'] })).toMatchObject({ home: { lastReadId: '0' }, notifications: { lastReadId: '0' } });
      const [newest] = await bob.client.v1.timelines.home.list({ limit: 1 });
      await bob.client.v1.markers.create({ home: { lastReadId: newest?.id ?? '' } });
      expect(await bob.client.v1.markers.fetch({ timeline: ['home'] })).toMatchObject({ home: { lastReadId: newest?.id } });
    });

    it('pages through timelines by their links, and stops', async () => {
      const made: string[] = [];
      for (let turn = 1; turn <= 25; turn++) made.unshift((await bob.client.v1.statuses.create({ status: `page ${turn}`, visibility: turn % 2 ? 'unlisted' : 'private' })).id);
      const lists = {
        account: () => bob.client.v1.accounts.$select(bob.account.id).statuses.list({ limit: 10 }),
        home: () => carol.client.v1.timelines.home.list({ limit: 10 }),
        own: () => bob.client.v1.timelines.home.list({ limit: 10 }),
      };
      for (const [name, list] of Object.entries(lists)) {
        expect(await eventually(async () => ((await list())[0]?.id === made[0] ? [] : ['not there yet']))).toEqual([]);
        const pages = await pagesOf(list());
        const all = pages.flatMap(ids);
        expect(all.slice(0, 25), name).toEqual(made);
        expect(all, name).toEqual(all.toSorted((a, b) => Number(BigInt(b) - BigInt(a))));
        expect(new Set(all).size, name).toBe(all.length);
        // Every page but the last ones is full: no gap where posts were filtered out.
        expect(pages.slice(0, 2).map(({ length }) => length), name).toEqual([10, 10]);
      }
      const middle = made[12] ?? '';
      const bobs = bob.client.v1.accounts.$select(bob.account.id).statuses;
      expect(ids(await bobs.list({ maxId: middle, limit: 3 }))).toEqual(made.slice(13, 16));
      expect(ids(await bobs.list({ minId: middle, limit: 3 }))).toEqual(made.slice(9, 12));
      expect(ids(await bobs.list({ sinceId: middle, limit: 3 }))).toEqual(made.slice(0, 3));
    });

    it('hears live what happens', async () => {
      const { configuration } = await carol.client.v2.instance.fetch();
      const streaming = createStreamingAPIClient({ streamingApiUrl: configuration.urls.streaming, accessToken: carol.token });
      const events: mastodon.streaming.Event[] = [];
      const listening = (async () => {
        for await (const event of streaming.user.subscribe()) events.push(event);
      })().catch(() => undefined);
      const heard = async (isIt: (event: mastodon.streaming.Event) => boolean): Promise<void> => {
        expect(await eventually(async () => (events.some(isIt) ? [] : [`only ${events.map(({ event }) => event).join()}`]))).toEqual([]);
      };
      try {
        // Subscribing is not answered: the first post that is heard tells that it has happened.
        expect(await eventually(async () => {
          await bob.client.v1.statuses.create({ status: 'is anybody there?' });
          return events.length > 0 ? [] : ['silence'];
        })).toEqual([]);
        const { id } = await bob.client.v1.statuses.create({ status: 'live', visibility: 'private' });
        await heard((event) => event.event === 'update' && event.payload.id === id && event.stream.includes('user'));
        await bob.client.v1.statuses.$select(id).update({ status: 'live, corrected' });
        await heard((event) => event.event === 'status.update' && event.payload.id === id && event.payload.content === '<p>live, corrected</p>');
        await bob.client.v1.statuses.create({ status: '@carol look' });
        await heard((event) => event.event === 'notification' && event.payload.type === 'mention' && event.payload.account.acct === 'bob');
        await bob.client.v1.statuses.$select(id).remove();
        await heard((event) => event.event === 'delete' && event.payload === id);
        // Nothing twice, and nothing of those whom carol does not follow.
        const { id: foreign } = await alice.client.v1.statuses.create({ status: 'not for carol' });
        const { id: last } = await bob.client.v1.statuses.create({ status: 'the end' });
        await heard((event) => event.event === 'update' && event.payload.id === last);
        const updates = events.flatMap((event) => (event.event === 'update' ? [event.payload.id] : []));
        expect(new Set(updates).size).toBe(updates.length);
        expect(updates).not.toContain(foreign);
        expect(updates).toEqual(updates.toSorted((a, b) => Number(BigInt(a) - BigInt(b))));
      } finally {
        streaming.close();
        await listening;
      }
    });

    it('deletes a post, which is gone everywhere', async () => {
      const { id } = await bob.client.v1.statuses.create({ status: 'soon gone' });
      expect(await eventually(async () => (ids(await carol.client.v1.timelines.home.list()).includes(id) ? [] : ['not at home']))).toEqual([]);
      expect(await refusal(carol.client.v1.statuses.$select(id).remove())).toMatchObject({ status: expect.toSatisfy((status) => status === 403 || status === 404) as number });
      expect(await bob.client.v1.statuses.$select(id).remove()).toMatchObject({ id, text: 'soon gone' });
      expect(await refusal(connect().v1.statuses.$select(id).fetch())).toMatchObject({ status: expect.toSatisfy((status) => status === 404 || status === 410) as number });
      expect(await eventually(async () => (ids(await carol.client.v1.timelines.home.list()).includes(id) ? ['still at home'] : []))).toEqual([]);
      expect(ids(await bob.client.v1.accounts.$select(bob.account.id).statuses.list())).not.toContain(id);
      expect(await refusal(bob.client.v1.statuses.$select(id).update({ status: 'back' }))).toMatchObject({ status: 404 });
    });

    it('reads what clients ask for at their start', async () => {
      const { client } = carol;
      expect(await client.v1.preferences.fetch()).toMatchObject({ 'posting:default:visibility': 'public' });
      for (const list of [client.v1.customEmojis.list(), client.v1.announcements.list(), client.v1.lists.list(), client.v1.followedTags.list(), client.v2.filters.list()]) expect(await list).toEqual([]);
      expect(await refusal(client.v1.trends.tags.list())).toMatchObject({ status: 404 });
    });

    it('is a stranger again once its token is revoked', async () => {
      const app = await connect().v1.apps.create({ clientName: 'Short', redirectUris: redirectUri, scopes });
      const keys = { clientId: app.clientId ?? '', clientSecret: app.clientSecret ?? '' };
      const oauth = createOAuthAPIClient({ url: server.url });
      const code = await authorize(new Browser(server.url), { ...keys, redirectUri, scopes }, { handle: 'alice', password: 'alice and seven more' });
      const { accessToken } = await oauth.token.create({ grantType: 'authorization_code', ...keys, redirectUri, code });
      const client = connect(accessToken);
      expect((await client.v1.accounts.verifyCredentials()).acct).toBe('alice');
      await oauth.revoke({ ...keys, token: accessToken });
      expect(await eventually(() => stillWorks(client))).toEqual([]);
      expect(await refusal(client.v1.accounts.verifyCredentials())).toMatchObject({ status: 401 });
      expect((await alice.client.v1.accounts.verifyCredentials()).acct).toBe('alice');
    });

    it('had nothing to complain of', () => {
      for (const complaint of complaints) expect(complaint).not.toHaveBeenCalled();
      expect(server.complaints).toBe('');
    });
  });
}
