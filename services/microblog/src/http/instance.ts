/** What this server is, for programs: instance documents, nodeinfo, WebFinger, and what is constant. */
import { Controller, Get, Header, Inject, Query, Res } from '@nestjs/common';
import type { Account, InstanceV1, InstanceV2 } from '@dmb/events';
import { AppError, type Calls } from '@dmb/runtime';
import { publicCache } from '@dmb/runtime/http';
import type { FastifyReply } from 'fastify';
import { headerPath } from '../pages/pictures.ts';
import { Presenter } from '../present/presenter.ts';
import { profileUrl } from '../present/posts.ts';
import { MicroblogStore } from '../store/microblogs.ts';
import { textLimits } from '../text/count.ts';
import { profileLimits } from './limits.ts';
import { Lookups } from './lookups.ts';
import { webfingerQuery, type WebfingerQuery } from './schemas.ts';

/** Token of the calls of other services. */
export const CALLS = Symbol('calls');

/** Version of this program. */
export const programVersion = '0.1.0';
/** What clients compare: it reads as a version of Mastodon, and keeps its optional features off. */
export const clientApiVersion = `4.5.0 (compatible; DMB ${programVersion})`;
const sourceUrl = '';

const description = 'A server for distributed microblogging: post, follow and read from here, with any Mastodon client.';

/** Limits in the words of both instance documents. */
const configuration = {
  accounts: {
    max_featured_tags: 0,
    max_pinned_statuses: 0,
    max_display_name_length: profileLimits.nameCharactersMax,
    max_note_length: profileLimits.noteCharactersMax,
    max_avatar_description_length: 0,
    max_header_description_length: 0,
    max_profile_fields: profileLimits.fieldsMax,
    profile_field_name_limit: profileLimits.fieldNameCharactersMax,
    profile_field_value_limit: profileLimits.fieldValueCharactersMax,
  },
  statuses: { max_characters: textLimits.charactersMax, max_media_attachments: 0, characters_reserved_per_url: textLimits.charactersPerLink },
  media_attachments: {
    supported_mime_types: [] as string[],
    description_limit: 1_500,
    image_size_limit: 0,
    image_matrix_limit: 0,
    video_size_limit: 0,
    video_frame_rate_limit: 0,
    video_matrix_limit: 0,
  },
  polls: { max_options: 4, max_characters_per_option: 50, min_expiration: 300, max_expiration: 2_629_746 },
};

@Controller()
export class InstanceController {
  private readonly presenter: Presenter;
  private readonly microblogs: MicroblogStore;
  private readonly lookups: Lookups;
  private readonly calls: Pick<Calls, 'call'>;

  constructor(
    @Inject(Presenter) presenter: Presenter,
    @Inject(MicroblogStore) microblogs: MicroblogStore,
    @Inject(Lookups) lookups: Lookups,
    @Inject(CALLS) calls: Pick<Calls, 'call'>,
  ) {
    this.presenter = presenter;
    this.microblogs = microblogs;
    this.lookups = lookups;
    this.calls = calls;
  }

  @Get('/api/v1/instance')
  async v1(@Res({ passthrough: true }) reply: FastifyReply): Promise<InstanceV1> {
    const { site } = this.presenter;
    const { mode, contact, totals, persons } = await this.state();
    publicCache(reply);
    const document = {
      uri: site.domain,
      title: site.title,
      short_description: description,
      description,
      email: '',
      version: clientApiVersion,
      urls: { streaming_api: streamingUrl(site.origin) },
      stats: { user_count: persons, status_count: totals.posts, domain_count: 1 },
      thumbnail: thumbnailUrl(site),
      languages: ['en'],
      registrations: mode !== 'closed',
      approval_required: mode === 'approval',
      invites_enabled: false,
      translation: { enabled: false },
      configuration,
      contact_account: contact,
      rules: [],
    };
    return document;
  }

  @Get('/api/v2/instance')
  async v2(@Res({ passthrough: true }) reply: FastifyReply): Promise<InstanceV2> {
    const { site } = this.presenter;
    const { mode, contact, persons } = await this.state();
    publicCache(reply);
    const thumbnail = thumbnailUrl(site);
    return {
      domain: site.domain,
      title: site.title,
      version: clientApiVersion,
      source_url: sourceUrl,
      description,
      usage: { users: { active_month: persons } },
      thumbnail: { url: thumbnail, blurhash: '', versions: { '@1x': thumbnail, '@2x': thumbnail }, description: '' },
      icon: [],
      languages: ['en'],
      configuration: { urls: { streaming: streamingUrl(site.origin) }, ...configuration, translation: { enabled: false }, vapid: { public_key: '' } },
      registrations: { enabled: mode !== 'closed', approval_required: mode === 'approval', message: null, min_age: null, reason_required: mode === 'approval' },
      // The library declares a text; Mastodon answers a number, and clients compare it as one.
      api_versions: { mastodon: 1 as unknown as string },
      contact: { email: '', account: contact as Account },
      rules: [],
    };
  }

  @Get('/.well-known/nodeinfo')
  nodeinfoLinks(@Res({ passthrough: true }) reply: FastifyReply): { readonly links: readonly { readonly rel: string; readonly href: string }[] } {
    publicCache(reply);
    return { links: [{ rel: 'http://nodeinfo.diaspora.software/ns/schema/2.0', href: `${this.presenter.site.origin}/nodeinfo/2.0` }] };
  }

  @Get('/nodeinfo/2.0')
  async nodeinfo(@Res({ passthrough: true }) reply: FastifyReply): Promise<Record<string, unknown>> {
    const { mode, totals, persons } = await this.state();
    publicCache(reply);
    return {
      version: '2.0',
      software: { name: 'dmb', version: programVersion },
      protocols: ['dmb'],
      services: { inbound: [], outbound: ['atom1.0'] },
      openRegistrations: mode === 'open',
      usage: { users: { total: persons }, localPosts: totals.posts },
      metadata: { nodeName: this.presenter.site.title },
    };
  }

  /** From a handle to where it is found. @throws {AppError} 400 without a resource, 404 for what is not here */
  @Get('/.well-known/webfinger')
  @Header('content-type', 'application/jrd+json; charset=utf-8')
  async webfinger(@Query({ schema: webfingerQuery }) { resource }: WebfingerQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<Record<string, unknown>> {
    if (resource === undefined || resource === '') throw new AppError('invalid', 'The parameter resource is missing', { status: 400 });
    const { site } = this.presenter;
    const written = resource.startsWith(`${site.origin}/@`) ? resource.slice(site.origin.length + 1) : /^acct:/i.test(resource) ? resource.slice(5) : '';
    const asker = { kind: 'anonymous', domain: site.domainId } as const;
    const microblog = await this.lookups.byHandle(asker, written);
    if (microblog === undefined || (!written.includes('@', 1) && !resource.startsWith(site.origin))) throw new AppError('not-found');
    publicCache(reply);
    const url = profileUrl(site, microblog.handle, microblog.domain);
    return {
      subject: `acct:${microblog.handle}@${microblog.domain}`,
      aliases: [url],
      links: [
        { rel: 'http://webfinger.net/rel/profile-page', type: 'text/html', href: url },
        { rel: 'http://schemas.google.com/g/2010#updates-from', type: 'application/atom+xml', href: `${url}/feed.atom` },
      ],
    };
  }

  @Get('/.well-known/host-meta')
  @Header('content-type', 'application/xrd+xml; charset=utf-8')
  hostMeta(@Res({ passthrough: true }) reply: FastifyReply): string {
    publicCache(reply);
    return `<?xml version="1.0" encoding="UTF-8"?>
<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">
  <Link rel="lrdd" template="${this.presenter.site.origin}/.well-known/webfinger?resource={uri}"/>
</XRD>
`;
  }

  @Get('/api/v1/custom_emojis')
  customEmojis(): readonly never[] {
    return [];
  }

  @Get('/api/v1/announcements')
  announcements(): readonly never[] {
    return [];
  }

  private async state(): Promise<{
    readonly mode: 'open' | 'approval' | 'closed';
    readonly persons: number;
    readonly contact: Account | null;
    readonly totals: { readonly microblogs: number; readonly posts: number };
  }> {
    const { site } = this.presenter;
    const [{ mode, persons, operatorMicroblog }, totals] = await Promise.all([
      this.calls.call('identity.registration', { domain: site.domainId }),
      this.microblogs.totals(site.domainId),
    ]);
    const contact = operatorMicroblog === null ? undefined : await this.presenter.account({ kind: 'anonymous', domain: site.domainId }, operatorMicroblog);
    return { mode, persons, contact: contact ?? null, totals };
  }
}

const streamingUrl = (origin: string): string => origin.replace(/^http/, 'ws');

const thumbnailUrl = ({ origin, domain }: { readonly origin: string; readonly domain: string }): string => `${origin}${headerPath('', domain)}`;
