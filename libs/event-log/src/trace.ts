/**
 * One trace from the request that caused an event to whatever its consumers do.
 *
 * The producer puts its trace context into the headers of its outbox row. A batch may hold events
 * of many traces, and a span has one parent: the first event's, so that the usual batch of one
 * belongs to the request that caused it; the other traces are linked, up to a bound.
 */
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Link } from '@opentelemetry/api';
import { eventLogLimits } from './limits.ts';
import type { LogEvent } from './port.ts';

/** Trace context of what is running now, for the headers of an outbox row. */
export function producerHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return headers;
}

/** Runs `work` in the span `process <topic>` of these events. */
export async function inConsumerSpan<T>(group: string, events: readonly LogEvent[], work: () => Promise<T>): Promise<T> {
  const [first] = events;
  const topic = first?.topic ?? 'nothing';
  const parent = propagation.extract(ROOT_CONTEXT, first?.headers ?? {});
  const attributes = {
    'messaging.system': 'dmb',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': topic,
    'messaging.consumer.group.name': group,
    'messaging.batch.message_count': events.length,
  };
  const tracer = trace.getTracer('@dmb/event-log');
  return await tracer.startActiveSpan(`process ${topic}`, { kind: SpanKind.CONSUMER, attributes, links: linksOf(events) }, parent, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, ...(error instanceof Error ? { message: error.message } : {}) });
      throw error;
    } finally {
      span.end();
    }
  });
}

function linksOf(events: readonly LogEvent[]): Link[] {
  const [first] = events;
  const links = new Map<string, Link>();
  let last = first?.headers;
  for (const { headers } of events) {
    // Events of one row share their headers.
    if (headers === last) continue;
    last = headers;
    const { traceparent } = headers;
    if (traceparent === undefined || traceparent === first?.headers['traceparent'] || links.has(traceparent)) continue;
    const spanContext = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, headers));
    if (spanContext !== undefined) links.set(traceparent, { context: spanContext });
    if (links.size >= eventLogLimits.spanLinksMax) break;
  }
  return [...links.values()];
}
