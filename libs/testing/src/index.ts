export { createTestDatabases, startTestPostgres } from './engines.ts';
export type { TestDatabases, TestDatabasesOptions } from './engines.ts';
export { freePort, runProgram, startTestServer, TestServer } from './server.ts';
export type { Ended, TestServerOptions } from './server.ts';
export type { Fault } from './fault-preload.ts';
export { authorize, Browser, ClientError, formWith, logIn, pkce, registerApp, requestToken, signUp, TestClient, TestStream, textOf } from './client.ts';
export type { App, Form, Member, NewPost, Page, Shown, StreamEvent } from './client.ts';
export { eventually, Journal } from './journal.ts';
export type { Acknowledged, Refusal, Visibility } from './journal.ts';
