/** What identity counts; the names and their attributes stand in the one table of the runtime library. */
import { meter } from '@dmb/runtime';

export function countSignUp(outcome: 'ok' | 'refused' | 'failed'): void {
  meter('signUps').add(1, { outcome });
}

export function countLogIn(outcome: 'ok' | 'refused' | 'failed'): void {
  meter('logIns').add(1, { outcome });
}

export function countToken(grant: 'authorization_code' | 'client_credentials'): void {
  meter('tokensIssued').add(1, { grant });
}

export function countLimited(limit: 'address' | 'sign-up' | 'log-in' | 'app'): void {
  meter('limited').add(1, { limit });
}
