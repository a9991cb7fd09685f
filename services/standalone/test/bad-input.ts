/**
 * Input that must be refused, as one list: the test of each and the soak test send the same.
 *
 * Each is a request as bytes on a socket would have it (no library tidies it up) and the answer in
 * full: its status and its body in the format of who asks. Nothing of it may leave a trace.
 */

/** One request, and what it is answered with. */
export interface BadInput {
  readonly what: string;
  readonly line: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** With the token of a person (default), of an app, or none. */
  readonly as?: 'person' | 'app' | 'nobody';
  readonly status: number;
  /** The body as JSON; a regular expression for the text of a page. */
  readonly answer: unknown;
  /** So large that a soak test sends it seldom. */
  readonly isLarge?: true;
}

const json = { 'Content-Type': 'application/json' } as const;
const form = { 'Content-Type': 'application/x-www-form-urlencoded' } as const;
const error = (text: string): { readonly error: string } => ({ error: text });
const invalid = (text: string): { readonly error: string } => error(`Validation failed: ${text}`);

const notFound = error('Record not found');
const blank = invalid("Text can't be blank");
const noToken = error('The access token is invalid');

const post = (what: string, body: string | Buffer, status: number, answer: unknown, headers: Readonly<Record<string, string>> = json): BadInput => ({ what, line: 'POST /api/v1/statuses', headers, body, status, answer });

const posts: readonly BadInput[] = [
  post('no body', '', 422, blank),
  post('a body of white space', '   ', 400, error('The request is not valid JSON')),
  post('half a JSON object', '{"status":"x"', 400, error('The request is not valid JSON')),
  post('JSON with something after it', '{"status":"x"} x', 400, error('The request is not valid JSON')),
  post('JSON that is no UTF-8', Buffer.from([0x7b, 0x22, 0x73, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d]), 400, error('The request is malformed')),
  { ...post('10 MB of JSON', `{"status":"${'x'.repeat(10_485_760)}"}`, 413, error('The request is too large')), isLarge: true },
  { ...post('10 MB that are no JSON', 'x'.repeat(10_485_760), 413, error('The request is too large')), isLarge: true },
  ...['[]', '[{"status":"x"}]', '"x"', '5', 'null', 'true'].map((body) => post(`JSON that is no object: ${body}`, body, 422, expectText)),
  post('a text that is an object', '{"status":{"a":1}}', 422, invalid('status: Invalid input: expected string, received object')),
  post('a text that is a number', '{"status":5}', 422, invalid('status: Invalid input: expected string, received number')),
  post('a text that is a list', '{"status":["x"]}', 422, invalid('status: Invalid input: expected string, received array')),
  post('an unknown visibility', '{"status":"x","visibility":"everyone"}', 422, invalid('visibility: Invalid option: expected one of "public"|"unlisted"|"private"|"direct"')),
  post('a switch that is none', '{"status":"x","sensitive":"perhaps"}', 422, invalid('sensitive: Invalid input: expected boolean, received string')),
  post('a parent that is an object', '{"status":"x","in_reply_to_id":{}}', 422, expectText),
  post('a parent that is no id', '{"status":"x","in_reply_to_id":"abc"}', 404, notFound),
  post('a parent beyond 63 bits', '{"status":"x","in_reply_to_id":"9223372036854775808"}', 404, notFound),
  post('an unknown parent', '{"status":"x","in_reply_to_id":"1"}', 404, error('The post that you are trying to reply to does not seem to exist')),
  post('NUL in a text', '{"status":"a\\u0000b"}', 422, invalid('a text contains a NUL character')),
  post('NUL in a name', '{"sta\\u0000tus":"a"}', 422, invalid('a text contains a NUL character')),
  post('half a surrogate pair', '{"status":"a\\ud800b"}', 422, invalid('a text is not valid Unicode')),
  post('the other half', '{"status":"\\udc00"}', 422, invalid('a text is not valid Unicode')),
  post('NUL in a form', 'status=a%00b', 422, invalid('a text contains a NUL character'), form),
  post('a form that is no Unicode', 'status=%ed%a0%80', 422, invalid('a text is not valid Unicode'), form),
  post('half a percent sign', 'status=%e', 422, invalid('a text is not valid Unicode'), form),
  post('501 characters', JSON.stringify({ status: 'x'.repeat(501) }), 422, invalid('Text character limit of 500 exceeded')),
  post('501 characters of four bytes', JSON.stringify({ status: '😀'.repeat(501) }), 422, invalid('Text character limit of 500 exceeded')),
  post('a link that counts 23, and 478 characters', JSON.stringify({ status: `https://example.org/${'a'.repeat(100)} ${'x'.repeat(477)}` }), 422, invalid('Text character limit of 500 exceeded')),
  post('501 characters with the content warning', JSON.stringify({ status: 'x'.repeat(400), spoiler_text: 'y'.repeat(101) }), 422, invalid('Text character limit of 500 exceeded')),
  post('few characters of very many bytes', JSON.stringify({ status: `a${'\u0301'.repeat(20_000)}` }), 422, invalid('Text character limit of 500 exceeded')),
  post('nothing but white space', '{"status":" \\n\\t "}', 422, blank),
  post('a picture that was never uploaded', '{"status":"x","media_ids":["1"]}', 422, invalid('Media attachments are not supported yet')),
  post('a poll', 'status=x&poll[options][]=a&poll[options][]=b', 422, invalid('Polls are not supported yet'), form),
  post('a post for later', '{"status":"x","scheduled_at":"2099-01-01T00:00:00Z"}', 422, invalid('Scheduled posts are not supported yet')),
  post('a key of 256 characters', '{"status":"x"}', 422, invalid('Idempotency-Key is longer than 255 characters'), { ...json, 'Idempotency-Key': 'k'.repeat(256) }),
  post('text/plain', 'status=x', 415, error('This content type is not supported'), { 'Content-Type': 'text/plain' }),
  post('XML', '<status>x</status>', 415, error('This content type is not supported'), { 'Content-Type': 'application/xml' }),
  post('no type at all', 'status=x', 415, error('This content type is not supported'), {}),
  post('multipart without parts', 'nothing', 400, error('The request is malformed'), { 'Content-Type': 'multipart/form-data; boundary=x' }),
  post('multipart without a boundary', 'nothing', 400, error('The request is malformed'), { 'Content-Type': 'multipart/form-data' }),
  post('objects 33 deep', `${'{"a":'.repeat(33)}1${'}'.repeat(33)}`, 422, invalid('too deeply nested')),
  post('lists 100,000 deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 422, invalid('too deeply nested')),
  post('very many values', JSON.stringify({ status: Array.from({ length: 30_000 }, () => 1) }), 422, invalid('too many values')),
  post('10,000 parameters', Array.from({ length: 10_000 }, (_, index) => `p${index}=1`).join('&'), 422, invalid('more than 1000 parameters'), form),
  post('a name 100 deep', `a${'[b]'.repeat(100)}=1`, 422, expectText, form),
  post('only a prototype', '{"__proto__":{"status":"x"}}', 422, blank),
  post('only a prototype in a form', '__proto__[status]=x', 422, blank, form),
];

const reads: readonly BadInput[] = [
  ...['0', '-1', 'abc', '1.5', '1e3', '9223372036854775808', '99999999999999999999999999', '%00', '1%00', '%F0%9F%98%80', '..%2f1', "1'--"].flatMap((id): BadInput[] => [
    { what: `a post ${id}`, line: `GET /api/v1/statuses/${id}`, status: 404, answer: notFound },
    { what: `an account ${id}`, line: `GET /api/v1/accounts/${id}`, as: 'nobody', status: 404, answer: notFound },
  ]),
  { what: 'an unknown post', line: 'GET /api/v1/statuses/3559614915560010989', status: 404, answer: notFound },
  { what: 'the thread of an unknown post', line: 'GET /api/v1/statuses/3559614915560010989/context', status: 404, answer: notFound },
  { what: 'an unknown notification', line: 'GET /api/v1/notifications/3559614915560010989', status: 404, answer: notFound },
  { what: 'following an unknown account', line: 'POST /api/v1/accounts/3559614915560010989/follow', status: 404, answer: notFound },
  { what: 'deleting an unknown post', line: 'DELETE /api/v1/statuses/3559614915560010989', status: 404, answer: notFound },
  { what: 'looking up nobody', line: 'GET /api/v1/accounts/lookup?acct=', as: 'nobody', status: 404, answer: notFound },
  { what: 'looking up what is no handle', line: 'GET /api/v1/accounts/lookup?acct=%27%20OR%201=1', as: 'nobody', status: 404, answer: notFound },
  { what: 'NUL in a query', line: 'GET /api/v2/search?q=%00', status: 422, answer: invalid('a text contains a NUL character') },
  { what: 'a query that is no Unicode', line: 'GET /api/v2/search?q=%ff', status: 422, answer: invalid('a text is not valid Unicode') },
  { what: '2,000 parameters in a query', line: `GET /api/v2/search?${'a=1&'.repeat(1_500)}`, status: 422, answer: invalid('more than 1000 parameters') },
  { what: 'an account that is named by an object', line: 'GET /api/v1/accounts/lookup?acct[a]=b', as: 'nobody', status: 422, answer: expectText },
  { what: 'a marker that is no id', line: 'POST /api/v1/markers', headers: json, body: '{"home":{"last_read_id":"x"}}', status: 422, answer: invalid('last_read_id is not an id') },
  { what: 'a marker beyond 63 bits', line: 'POST /api/v1/markers', headers: json, body: '{"home":{"last_read_id":"9223372036854775808"}}', status: 422, answer: invalid('last_read_id is not an id') },
  { what: 'a display name of 31 characters', line: 'PATCH /api/v1/accounts/update_credentials', headers: json, body: JSON.stringify({ display_name: 'x'.repeat(31) }), status: 422, answer: invalid('Display name is longer than 30 characters') },
  { what: 'a note of 501 characters', line: 'PATCH /api/v1/accounts/update_credentials', headers: json, body: JSON.stringify({ note: 'x'.repeat(501) }), status: 422, answer: invalid('Note is longer than 500 characters') },
  { what: 'five fields', line: 'PATCH /api/v1/accounts/update_credentials', headers: json, body: JSON.stringify({ fields_attributes: [1, 2, 3, 4, 5].map((name) => ({ name: `${name}`, value: 'x' })) }), status: 422, answer: invalid('A profile has at most 4 fields') },
  { what: 'a path that nobody serves', line: 'GET /api/v1/nothing', status: 404, answer: error('Not found') },
  { what: 'a method that nobody serves', line: 'PUT /api/v1/instance', headers: json, body: '{}', status: 404, answer: error('Not found') },
];

const tokens: readonly BadInput[] = [
  { what: 'no token', line: 'GET /api/v1/timelines/home', as: 'nobody', status: 401, answer: noToken },
  { what: 'no token for posting', line: 'POST /api/v1/statuses', headers: json, body: '{"status":"x"}', as: 'nobody', status: 401, answer: noToken },
  { what: 'a token that is none', line: 'GET /api/v1/timelines/home', headers: { Authorization: 'Bearer x' }, as: 'nobody', status: 401, answer: noToken },
  { what: 'a token of the right form', line: 'GET /api/v1/timelines/home', headers: { Authorization: `Bearer ${'A'.repeat(46)}` }, as: 'nobody', status: 401, answer: noToken },
  { what: 'a token of 5,000 characters', line: 'GET /api/v1/timelines/home', headers: { Authorization: `Bearer ${'A'.repeat(5_000)}` }, as: 'nobody', status: 401, answer: noToken },
  { what: 'a bad token where none is needed', line: 'GET /api/v1/timelines/public', headers: { Authorization: 'Bearer x' }, as: 'nobody', status: 401, answer: noToken },
  { what: 'Basic', line: 'GET /api/v1/timelines/home', headers: { Authorization: 'Basic YWRhOmFkYQ==' }, as: 'nobody', status: 401, answer: noToken },
  { what: 'a token in the query', line: 'GET /api/v1/timelines/home?access_token=TOKEN', as: 'nobody', status: 401, answer: noToken },
  { what: 'a token in the body', line: 'POST /api/v1/statuses', headers: form, body: 'status=x&access_token=TOKEN', as: 'nobody', status: 401, answer: noToken },
  { what: 'an app where a person is needed', line: 'GET /api/v1/timelines/home', as: 'app', status: 422, answer: error('This method requires an authenticated user') },
  { what: 'a bad token for streaming', line: 'GET /api/v1/streaming/user?access_token=x', as: 'nobody', status: 401, answer: noToken },
  { what: 'a stream that nobody knows', line: 'GET /api/v1/streaming?stream=nothing', status: 400, answer: error('Unknown stream type') },
];

const field = (name: string, code: string, text: string): unknown => ({ error: expectText, details: { [name]: [{ error: code, description: text }] } });
const signUp = (what: string, given: Readonly<Record<string, unknown>>, answer: unknown): BadInput => ({
  what,
  line: 'POST /api/v1/accounts',
  headers: json,
  body: JSON.stringify({ username: 'newcomer', password: 'long enough', email: 'new@example.org', agreement: true, ...given }),
  as: 'app',
  status: 422,
  answer,
});

const signUps: readonly BadInput[] = [
  signUp('no handle', { username: '' }, field('username', 'ERR_BLANK', "can't be blank")),
  ...['Ada', 'ädä', 'a b', 'a.b', 'a-b', 'a@b', '<b>', 'a/b', '..', '😀', 'a\u200bb'].map((username) => signUp(`the handle "${username}"`, { username }, field('username', 'ERR_INVALID', 'must contain only the letters a–z, digits and underscores'))),
  signUp('a handle of 31 characters', { username: 'a'.repeat(31) }, field('username', 'ERR_TOO_LONG', 'is too long (at most 30 characters)')),
  signUp('a reserved handle', { username: 'postmaster' }, field('username', 'ERR_RESERVED', 'is a reserved name')),
  signUp('a taken handle', { username: 'ada' }, field('username', 'ERR_TAKEN', 'is already taken')),
  signUp('no password', { password: '' }, field('password', 'ERR_BLANK', "can't be blank")),
  signUp('a password of 7 characters', { password: 'x'.repeat(7) }, field('password', 'ERR_TOO_SHORT', 'is too short (at least 8 characters)')),
  signUp('a password of 1,025 characters', { password: 'x'.repeat(1_025) }, field('password', 'ERR_TOO_LONG', 'is too long (at most 1,024 characters)')),
  signUp('an address that is none', { email: 'nowhere' }, field('email', 'ERR_INVALID', 'is not an e-mail address')),
  signUp('no agreement', { agreement: false }, field('agreement', 'ERR_ACCEPTED', 'must be accepted')),
  { ...signUp('the token of a person', {}, error('Signing up needs the token of an app, not of a person')), as: 'person', status: 403 },
  { ...signUp('no token for signing up', {}, noToken), as: 'nobody', status: 401 },
];

const app = (what: string, given: Readonly<Record<string, unknown>>): BadInput => ({ what, line: 'POST /api/v1/apps', headers: json, body: JSON.stringify({ client_name: 'x', redirect_uris: 'https://example.org/', ...given }), as: 'nobody', status: 422, answer: { error: expectText } });
const oauth = (what: string, line: string, given: string | Buffer, status: number, code: string, headers: Readonly<Record<string, string>> = form): BadInput => ({ what, line, headers, body: given, as: 'nobody', status, answer: { error: code, error_description: expectText } });

const oauths: readonly BadInput[] = [
  app('an app without a name', { client_name: '' }),
  ...['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'http://example.org/', 'https://example.org/#x', 'https://me@example.org/', 'https://example.org/a b', 'nothing', '', 'https://exämple.org/', 'blob:https://example.org/x', 'vbscript:x', 'https://example.org/\u0000'].map((uri) => app(`the redirect URI ${JSON.stringify(uri)}`, { redirect_uris: uri })),
  app('scopes that do not exist', { scopes: 'read everything' }),
  oauth('no grant', 'POST /oauth/token', '', 400, 'invalid_request'),
  oauth('a grant by password', 'POST /oauth/token', 'grant_type=password&username=ada&password=x', 400, 'unsupported_grant_type'),
  oauth('an unknown client', 'POST /oauth/token', 'grant_type=client_credentials&client_id=x&client_secret=y', 401, 'invalid_client'),
  oauth('half a JSON object to OAuth', 'POST /oauth/token', '{"grant_type":', 400, 'invalid_request', json),
  oauth('text/plain to OAuth', 'POST /oauth/token', 'grant_type=client_credentials', 415, 'invalid_request', { 'Content-Type': 'text/plain' }),
  { ...oauth('10 MB to OAuth', 'POST /oauth/token', Buffer.alloc(10_485_760, 'x'), 413, 'invalid_request'), isLarge: true },
  { what: 'revoking nothing', line: 'POST /oauth/revoke', headers: form, body: 'token=x', as: 'nobody', status: 200, answer: {} },
];

const page = (what: string, line: string, status: number, answer: RegExp, more: Partial<BadInput> = {}): BadInput => ({ what, line, as: 'nobody', status, answer, ...more, headers: { Accept: 'text/html', ...more.headers } });

const pages: readonly BadInput[] = [
  page('the page of nobody', 'GET /@nobody_at_all', 404, /Record not found|Not here/),
  page('the page of what is no handle', 'GET /@%00', 404, /Not here/),
  page('the page of an unknown post', 'GET /@ada/1', 404, /Not here/),
  page('an object that is none', 'GET /objects/x', 404, /Not here/),
  page('a file that is none', 'GET /assets/..%2f..%2fpackage.json', 404, /Not here/),
  page('a page that is none', 'GET /nothing/at/all', 404, /Not here/),
  page('a log-in from another site', 'POST /log-in', 403, /did not come from a page of ours/, { headers: { ...form, Origin: 'https://evil.example' }, body: 'username=ada&password=x' }),
  page('a sign-up from another site', 'POST /sign-up', 403, /did not come from a page of ours/, { headers: { ...form, Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' }, body: 'username=eve&password=long+enough' }),
  page('a sign-up without the token of its form', 'POST /sign-up', 403, /did not come from a page of ours/, { headers: form, body: 'username=eve&password=long+enough' }),
  page('a consent from another site', 'POST /oauth/authorize', 403, /did not come from a page of ours/, { headers: { ...form, Origin: 'null' }, body: 'decision=allow' }),
  page('an app that is not registered', 'GET /oauth/authorize?response_type=code&client_id=x&redirect_uri=https://evil.example/', 400, /not registered at this server/),
  page('a link for the operator that is none', 'GET /operator/x', 404, /does not work/),
  page('half a form', 'POST /log-in', 422, /Validation failed/, { headers: form, body: 'username=%e' }),
];

/** Any text: where only the sentence matters to who reads it. */
function expectText(): void {
  // A mark: see matches().
}

/** Whether an answer is what it should be; `undefined` if so, what is wrong otherwise. */
export function matches(expected: unknown, got: unknown): boolean {
  if (expected === expectText) return typeof got === 'object' ? matches({ error: expectText }, got) : typeof got === 'string' && got.length > 3 && !/\bat \/|node_modules|Error:/.test(got);
  if (typeof expected !== 'object' || expected === null) return expected === got;
  if (typeof got !== 'object' || got === null) return false;
  const [names, others] = [Object.keys(expected), Object.keys(got)];
  return names.length === others.length && names.every((name) => matches((expected as Record<string, unknown>)[name], (got as Record<string, unknown>)[name]));
}

export const badInputs: readonly BadInput[] = [...posts, ...reads, ...tokens, ...signUps, ...oauths, ...pages];
