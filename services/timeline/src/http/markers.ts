/**
 * `/api/v1/markers`: how far somebody has read.
 *
 * Every timeline that is asked for is answered, with a default if it was never set: clients read
 * `notifications.last_read_id` without looking whether it is there.
 */
import { Body, Controller, Get, Inject, Post, Query } from '@nestjs/common';
import type { Marker } from '@dmb/events';
import { AppError } from '@dmb/runtime';
import { CalledBy, looseList, parseId, type PersonCaller } from '@dmb/runtime/http';
import { z } from 'zod';
import { markedTimelines, MarkerStore, type MarkedTimeline, type MarkerRow } from '../store/markers.ts';

type Markers = Partial<Marker>;

const asked = z.object({ timeline: looseList(z.string().max(64), 20).optional() });
const one = z.object({ last_read_id: z.union([z.string().max(30), z.int().min(0)]) });
const set = z.object({ home: one.optional(), notifications: one.optional() });

@Controller('api/v1/markers')
export class MarkersController {
  private readonly store: MarkerStore;

  constructor(@Inject(MarkerStore) store: MarkerStore) {
    this.store = store;
  }

  @Get()
  async read(@CalledBy() { asker }: PersonCaller, @Query({ schema: asked }) query: z.infer<typeof asked>): Promise<Markers> {
    const timelines = markedTimelines.filter((timeline) => query.timeline?.includes(timeline));
    const known = timelines.length === 0 ? [] : await this.store.read(asker, timelines);
    return Object.fromEntries(timelines.map((timeline) => [timeline, wire(known.find((row) => row.timeline === timeline))]));
  }

  @Post()
  async write(@CalledBy() { asker }: PersonCaller, @Body({ schema: set }) body: z.infer<typeof set>): Promise<Markers> {
    const markers = markedTimelines.flatMap((timeline) => {
      const marker = body[timeline];
      return marker === undefined ? [] : [{ timeline, lastReadId: idOf(String(marker.last_read_id)) }];
    });
    const written = markers.length === 0 ? [] : await this.store.write(asker, markers);
    return Object.fromEntries(written.map((row) => [row.timeline, wire(row)]));
  }
}

/** Zero means that nothing has been read. */
function idOf(text: string): bigint {
  const id = /^0+$/.test(text) ? 0n : parseId(text);
  if (id === undefined) throw new AppError('invalid', 'Validation failed: last_read_id is not an id');
  return id;
}

function wire(row: MarkerRow | undefined): Marker[MarkedTimeline] {
  return { last_read_id: String(row?.lastReadId ?? 0n), version: row?.version ?? 0, updated_at: (row?.updatedAt ?? new Date(0)).toISOString() };
}
