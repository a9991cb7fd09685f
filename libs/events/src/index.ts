export {
  entryRefSchema,
  entryRefWire,
  personEventSchema,
  personEventWire,
  serviceNames,
  topics,
} from './topics.ts';
export type { Audience, EntryRef, PayloadOf, PersonEvent, ServiceName, Topic, TopicName } from './topics.ts';
export { calls } from './calls.ts';
export type {
  AnswerOf,
  Asker,
  Call,
  CallName,
  Contribution,
  EntryAnswer,
  LogRef,
  PresentContext,
  Reads,
  RequestOf,
  TokenAnswer,
} from './calls.ts';
export { readingCalls, routes } from './routes.ts';
export type { Method, Route, RouteAuth } from './routes.ts';
export type { Role } from '@dmb/protocol';
export type {
  Account,
  ClientToken,
  Context,
  CredentialAccount,
  InstanceV1,
  InstanceV2,
  Marker,
  Notification,
  Preferences,
  Relationship,
  Search,
  Status,
  StatusEdit,
  StatusSource,
  Wire,
} from './client-api.ts';
