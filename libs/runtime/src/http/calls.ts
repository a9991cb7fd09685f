/** Calls by HTTP. An entry of its own: a process that needs no other does not load a client of HTTP. */
export { HttpCallTransport } from './call-client.ts';
export type { HttpCallTransportOptions } from './call-client.ts';
export { CallListener } from './call-listener.ts';
export type { CallListenerOptions } from './call-listener.ts';
