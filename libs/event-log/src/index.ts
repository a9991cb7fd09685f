export type { EventLog, LogEvent, PoisonEvent, SubscribeOptions, Subscription } from './port.ts';
export { eventLogLimits } from './limits.ts';
export type { EventLogLimits } from './limits.ts';
export { EventLogTransport, Rethrow } from './nest.ts';
export type { EventLogTransportOptions } from './nest.ts';
export { PostgresEventLog } from './postgres.ts';
export type { PostgresEventLogOptions, Producer } from './postgres.ts';
export { inConsumerSpan, producerHeaders } from './trace.ts';
