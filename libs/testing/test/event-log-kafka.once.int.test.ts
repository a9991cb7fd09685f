import { beforeEach, describe, it } from 'vitest';
import { eventLogConformance } from '../src/conformance/event-log.ts';
import { sharedKafka } from '../src/engines-on-demand.ts';
import { kafkaAdapter, KafkaPlace } from './kafka-harness.ts';
import { outboxHarness } from './outbox-harness.ts';

const brokers = await sharedKafka();
beforeEach(() => sharedKafka());

// Two databases: a group reads from the relays of all of them.
if (brokers !== undefined) eventLogConformance('Kafka', () => outboxHarness(kafkaAdapter(new KafkaPlace(brokers)), 2));
else describe('the event log: Kafka', () => it.skip('was not tested: there is no Kafka', () => undefined));
