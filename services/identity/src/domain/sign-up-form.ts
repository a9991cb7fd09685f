/**
 * What a person types to sign up, checked field by field.
 *
 * The form of the errors is Mastodon's (`details` of the 422), because clients show them beside
 * their fields; the pages show the same descriptions. Whether a handle is taken or reserved only
 * the directory knows: that is asked later.
 */
import { type ErrorDetails, AppError } from '@dmb/runtime';
import { isHandle } from '@dmb/protocol';
import { textLimits } from '../limits.ts';
import { isPassword } from './passwords.ts';

/** What was typed. */
export interface SignUpForm {
  readonly handle: string | undefined;
  readonly password: string | undefined;
  readonly email?: string | undefined;
  readonly title?: string | undefined;
  readonly reason?: string | undefined;
  readonly locale?: string | undefined;
  readonly agreement: boolean;
}

/** What is worth signing up with. */
export interface SignUp {
  readonly handle: string;
  readonly password: string;
  readonly email: string | null;
  readonly title: string;
  readonly reason: string | null;
  readonly locale: string | null;
}

/** One field's mistake: Mastodon's code and a sentence. */
export interface FieldError {
  readonly field: 'username' | 'password' | 'email' | 'display_name' | 'reason' | 'agreement';
  readonly error: string;
  readonly description: string;
}

export type CheckedSignUp = { readonly outcome: 'good'; readonly signUp: SignUp } | { readonly outcome: 'wrong'; readonly errors: readonly FieldError[] };

const EMAIL = /^[^\s@"(),:;<>[\\\]]{1,64}@[^\s@"(),:;<>[\\\]]{1,190}\.[^\s@"(),.:;<>[\\\]]{1,63}$/;
const LOCALE = /^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$/;

/** Text in one line without controls, bidi overrides and characters of no width; blanks are single. */
export function cleanLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu, ' ').replace(/\s+/g, ' ').trim();
}

/** Text of several lines without the characters that {@link cleanLine} drops. */
export function cleanText(text: string): string {
  return text.replaceAll('\r\n', '\n').split('\n').map(cleanLine).join('\n').trim();
}

const lengthOf = (text: string): number => [...text].length;

/** Checks every field and tells of all mistakes together. `reasonNeeded`: somebody will read it. */
export function checkSignUp(form: SignUpForm, { reasonNeeded }: { readonly reasonNeeded: boolean }): CheckedSignUp {
  const errors: FieldError[] = [];
  const wrong = (field: FieldError['field'], error: string, description: string): void => void errors.push({ field, error, description });

  const handle = (form.handle ?? '').trim().replace(/^@/, '');
  if (handle === '') wrong('username', 'ERR_BLANK', "can't be blank");
  else if (lengthOf(handle) > textLimits.handleLengthMax) wrong('username', 'ERR_TOO_LONG', `is too long (at most ${textLimits.handleLengthMax} characters)`);
  else if (!isHandle(handle)) wrong('username', 'ERR_INVALID', 'must contain only the letters a–z, digits and underscores');

  const password = form.password ?? '';
  const passwordLength = lengthOf(password);
  if (password === '') wrong('password', 'ERR_BLANK', "can't be blank");
  else if (passwordLength < textLimits.passwordLengthMin) wrong('password', 'ERR_TOO_SHORT', `is too short (at least ${textLimits.passwordLengthMin} characters)`);
  else if (passwordLength > textLimits.passwordLengthMax) wrong('password', 'ERR_TOO_LONG', `is too long (at most ${textLimits.passwordLengthMax.toLocaleString('en')} characters)`);
  else if (!isPassword(password)) wrong('password', 'ERR_INVALID', 'contains characters that cannot be used');

  const email = (form.email ?? '').trim();
  if (email.length > textLimits.emailLengthMax) wrong('email', 'ERR_TOO_LONG', `is too long (at most ${textLimits.emailLengthMax} characters)`);
  else if (email !== '' && !EMAIL.test(email)) wrong('email', 'ERR_INVALID', 'is not an e-mail address');

  const title = cleanLine(form.title ?? '');
  if (lengthOf(title) > textLimits.titleLengthMax) wrong('display_name', 'ERR_TOO_LONG', `is too long (at most ${textLimits.titleLengthMax} characters)`);

  const reason = cleanText(form.reason ?? '');
  if (lengthOf(reason) > textLimits.reasonLengthMax) wrong('reason', 'ERR_TOO_LONG', `is too long (at most ${textLimits.reasonLengthMax} characters)`);
  else if (reasonNeeded && reason === '') wrong('reason', 'ERR_BLANK', "can't be blank");

  if (!form.agreement) wrong('agreement', 'ERR_ACCEPTED', 'must be accepted');
  if (errors.length > 0) return { outcome: 'wrong', errors };

  const locale = (form.locale ?? '').trim();
  return {
    outcome: 'good',
    signUp: {
      handle,
      password,
      email: email === '' ? null : email,
      title: title === '' ? handle : title,
      reason: reason === '' ? null : reason,
      locale: LOCALE.test(locale) && locale.length <= textLimits.localeLengthMax ? locale : null,
    },
  };
}

const fieldNames: Readonly<Record<FieldError['field'], string>> = {
  username: 'Username',
  password: 'Password',
  email: 'E-mail',
  display_name: 'Display name',
  reason: 'Reason',
  agreement: 'Agreement',
};

/** A mistake as a sentence that needs no field beside it. */
export function describeFieldError({ field, description }: FieldError): string {
  return `${fieldNames[field]} ${description}`;
}

/** Mistakes as the 422 of the client API. */
export function signUpError(errors: readonly FieldError[]): AppError {
  const details: Record<string, { error: string; description: string }[]> = {};
  for (const { field, error, description } of errors) (details[field] ??= []).push({ error, description });
  return new AppError('invalid', `Validation failed: ${errors.map(describeFieldError).join(', ')}`, { details: details satisfies ErrorDetails });
}
