/** Every variable of identity. The domain, its address and the databases are shared and declared by whoever composes the services. */
import { type ConfigOf, variable } from '@dmb/runtime';

export const identityConfig = {
  registration: variable({
    name: 'DMB_REGISTRATION',
    type: 'enum',
    values: ['open', 'approval', 'closed'],
    defaultText: 'open while the domain is localhost or below it, else approval',
    describe: 'Who may sign up: everybody, whoever the operator approves, or nobody.',
  }),
} as const;

export type IdentityConfig = ConfigOf<typeof identityConfig>;
