/**
 * The shapes of the client API, derived from the types of the `masto` client library: names in
 * snake_case, everything else as that library declares it. Type-only: nothing of the library is in
 * the running program.
 */
import type { mastodon } from 'masto';

type Snake<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? Head extends Lowercase<Head>
    ? `${Head}${Snake<Tail>}`
    : `_${Lowercase<Head>}${Snake<Tail>}`
  : Name;

/** One mapped type: the JSON that travels for a type of the library. */
export type Wire<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? Wire<Item>[]
    : T extends object
      ? { [Key in keyof T as Key extends string ? Snake<Key> : Key]: Wire<T[Key]> }
      : T;

export type Account = Wire<mastodon.v1.Account>;
export type CredentialAccount = Wire<mastodon.v1.CredentialAccount>;
export type Status = Wire<mastodon.v1.Status>;
export type StatusEdit = Wire<mastodon.v1.StatusEdit>;
export type StatusSource = Wire<mastodon.v1.StatusSource>;
export type Context = Wire<mastodon.v1.Context>;
export type Relationship = Wire<mastodon.v1.Relationship>;
export type Notification = Wire<mastodon.v1.Notification>;
export type Search = Wire<mastodon.v2.Search>;
export type InstanceV1 = Wire<mastodon.v1.Instance>;
export type InstanceV2 = Wire<mastodon.v2.Instance>;
export type Marker = Wire<mastodon.v1.Marker>;
export type Preferences = mastodon.v1.Preference;
export type ClientToken = Wire<mastodon.v1.Token>;
