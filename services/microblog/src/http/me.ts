/** The account that a token acts as, and its settings. */
import { Body, Controller, Get, Inject, Patch } from '@nestjs/common';
import type { CredentialAccount, Preferences } from '@dmb/events';
import { AppError } from '@dmb/runtime';
import { CalledBy, type PersonCaller } from '@dmb/runtime/http';
import { MicroblogCommands, type ProfileChanges } from '../commands/microblogs.ts';
import { actorOf } from '../posts/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { countCharacters } from '../text/count.ts';
import { cleanName } from '../text/names.ts';
import { profileLimits } from './limits.ts';
import { credentialsUpdate, type CredentialsUpdate } from './schemas.ts';

@Controller()
export class MeController {
  private readonly presenter: Presenter;
  private readonly commands: MicroblogCommands;

  constructor(@Inject(Presenter) presenter: Presenter, @Inject(MicroblogCommands) commands: MicroblogCommands) {
    this.presenter = presenter;
    this.commands = commands;
  }

  @Get('/api/v1/accounts/verify_credentials')
  async verify(@CalledBy() { asker }: PersonCaller): Promise<CredentialAccount> {
    const account = await this.presenter.credentials(asker);
    if (account === undefined) throw new AppError('unauthenticated', 'The access token was revoked');
    return account;
  }

  @Patch('/api/v1/accounts/update_credentials')
  async update(@CalledBy() caller: PersonCaller, @Body({ schema: credentialsUpdate }) body: CredentialsUpdate): Promise<CredentialAccount> {
    await this.commands.updateProfile(actorOf(caller.asker), changesOf(body));
    this.presenter.forget(caller.asker.microblog);
    return this.verify(caller);
  }

  @Get('/api/v1/preferences')
  async preferences(@CalledBy() caller: PersonCaller): Promise<Preferences> {
    const { source } = await this.verify(caller);
    return {
      'posting:default:visibility': source.privacy ?? 'public',
      'posting:default:sensitive': source.sensitive ?? false,
      // The library declares a text; Mastodon answers null where nothing is set.
      'posting:default:language': source.language as string,
      'reading:expand:media': 'default',
      'reading:expand:spoilers': false,
      'reading:autoplay:gifs': false,
    };
  }
}

/** @throws {AppError} 422 for what is too long or not served yet */
function changesOf(body: CredentialsUpdate): ProfileChanges {
  if (isPicture(body.avatar) || isPicture(body.header)) throw new AppError('invalid', 'Validation failed: Pictures cannot be uploaded yet');
  const { display_name: name, note, locked, discoverable, fields_attributes: fields, source } = body;
  return {
    ...(name === undefined ? {} : { title: checked('Display name', cleanName(name), profileLimits.nameCharactersMax, profileLimits.nameBytesMax) }),
    ...(note === undefined ? {} : { summary: checked('Note', note.trim(), profileLimits.noteCharactersMax, profileLimits.noteBytesMax) }),
    ...(locked === undefined ? {} : { locked }),
    ...(discoverable === undefined ? {} : { discoverable }),
    ...(fields === undefined ? {} : { fields: fieldsOf(fields) }),
    ...(source?.privacy === undefined ? {} : { defaultVisibility: source.privacy }),
    ...(source?.sensitive === undefined ? {} : { defaultSensitive: source.sensitive }),
    ...(source?.language === undefined ? {} : { defaultLanguage: languageOf(source.language) }),
  };
}

function fieldsOf(fields: NonNullable<CredentialsUpdate['fields_attributes']>): NonNullable<ProfileChanges['fields']> {
  const written = fields.map(({ name, value }) => ({ name: cleanName(name ?? ''), value: cleanName(value ?? '') })).filter(({ name, value }) => name !== '' || value !== '');
  if (written.length > profileLimits.fieldsMax) throw new AppError('invalid', `Validation failed: A profile has at most ${profileLimits.fieldsMax} fields`);
  for (const { name, value } of written) {
    checked('Field name', name, profileLimits.fieldNameCharactersMax, profileLimits.fieldBytesMax);
    checked('Field value', value, profileLimits.fieldValueCharactersMax, profileLimits.fieldBytesMax);
  }
  return written;
}

function languageOf(language: string | null): string | null {
  if (language === null || language === '') return null;
  if (!/^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}$/.test(language)) throw new AppError('invalid', 'Validation failed: Language is not a language code');
  return language;
}

function checked(what: string, text: string, charactersMax: number, bytesMax: number): string {
  if (Buffer.byteLength(text) > bytesMax || countCharacters(text) > charactersMax) throw new AppError('invalid', `Validation failed: ${what} is longer than ${charactersMax} characters`);
  return text;
}

/** A file, or anything else that is not nothing. */
const isPicture = (value: unknown): boolean => value !== undefined && value !== null && value !== '' && !(value instanceof Blob && value.size === 0);
