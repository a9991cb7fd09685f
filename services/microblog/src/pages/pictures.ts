/**
 * Pictures for microblogs that have none of their own, drawn from the handle.
 *
 * The name of a picture holds all that it is drawn from (a version of the drawing and a hash of the
 * handle), so its bytes never change under that name: it may be kept for ever, nothing is stored,
 * and asking for one tells nobody whether there is such a microblog. It also means that anybody can
 * ask for as many as there are names: a drawing takes some milliseconds, so {@link Pictures} keeps
 * the newest and lets each address have a bounded number of others drawn.
 */
import { AppError } from '@dmb/runtime';
import type { RateLimiter } from '@dmb/runtime/http';
import { LRUCache } from 'lru-cache';
import { hash } from 'node:crypto';
import { encodePng, icoOf, type Colour } from './png.ts';

/** Rises with every change of a drawing. */
const drawing = 1;
const avatarPixels = 192;
const headerPixels = { width: 960, height: 320 } as const;
/** Bytes of the drawings that are kept, 5 to 30 KB each. */
const keptBytesMax = 32 << 20;
/** New drawings for one address: what a client shows on its first screens, several times over. */
const drawings = { name: 'pictures', capacity: 200, periodMs: 60_000 } as const;

/** Where the picture of a microblog is. */
export function avatarPath(handle: string, domain: string): string {
  return `/assets/avatar-${drawing}-${seedOf(handle, domain)}.png`;
}

/** Where the wide picture of a microblog is. */
export function headerPath(handle: string, domain: string): string {
  return `/assets/header-${drawing}-${seedOf(handle, domain)}.png`;
}

const seedOf = (handle: string, domain: string): string => hash('sha256', `picture\0${handle}@${domain}`, 'hex').slice(0, 16);

export class Pictures {
  private readonly limiter: RateLimiter | undefined;
  private readonly kept = new LRUCache<string, Buffer>({ maxSize: keptBytesMax, sizeCalculation: ({ length }) => length });

  /** Without a limiter everything is drawn. */
  constructor(limiter?: RateLimiter) {
    this.limiter = limiter;
  }

  /**
   * The bytes of a picture by its file name; undefined for a name that is none of ours.
   * @throws {AppError} `limited` where this address had too many drawn that were not there
   */
  async of(file: string, addressBucket: string): Promise<Buffer | undefined> {
    const [, what, version, seed] = /^(avatar|header)-(\d)-([0-9a-f]{16})\.png$/.exec(file) ?? [];
    if (seed === undefined || version !== String(drawing)) return undefined;
    const known = this.kept.get(file);
    if (known !== undefined) return known;
    const answer = await this.limiter?.take(drawings, addressBucket);
    if (answer?.allowed === false) throw new AppError('limited', undefined, { retryAfterSeconds: drawings.periodMs / drawings.capacity / 1_000 });
    const drawn = what === 'avatar' ? drawAvatar(Buffer.from(seed, 'hex')) : drawHeader(Buffer.from(seed, 'hex'));
    this.kept.set(file, drawn);
    return drawn;
  }
}

/** A mirrored pattern of round cells on a soft ground. */
function drawAvatar(seed: Buffer): Buffer {
  const { ground, ink } = coloursOf(seed);
  const size = avatarPixels;
  const cells = 5;
  const cell = size / (cells + 2);
  const isOn = (column: number, row: number): boolean => {
    const bit = Math.min(column, cells - 1 - column) + 3 * row;
    return (((seed[1 + (bit >> 3)] ?? 0) >> (bit & 7)) & 1) === 1;
  };
  const pixels = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const column = Math.floor(x / cell) - 1;
      const row = Math.floor(y / cell) - 1;
      if (column < 0 || row < 0 || column >= cells || row >= cells || !isOn(column, row)) continue;
      const across = x + 0.5 - (column + 1.5) * cell;
      const down = y + 0.5 - (row + 1.5) * cell;
      // Neighbours that are both on flow together; a free side is round.
      const joinsAcross = isOn(column + Math.sign(across), row) && inside(column + Math.sign(across), cells);
      const joinsDown = isOn(column, row + Math.sign(down)) && inside(row + Math.sign(down), cells);
      const radius = cell / 2;
      const outside = joinsAcross || joinsDown ? -1 : Math.hypot(across, down) - radius;
      pixels[y * size + x] = level(0.5 - outside);
    }
  }
  return encodePng(size, pixels, blend(ground, ink));
}

const inside = (index: number, cells: number): boolean => index >= 0 && index < cells;

/** Wide soft waves. */
function drawHeader(seed: Buffer): Buffer {
  const { ground, ink } = coloursOf(seed);
  const { width, height } = headerPixels;
  const waves = [0, 1, 2].map((nth) => ({
    rise: height * (0.35 + 0.2 * nth),
    swing: height * (0.1 + ((seed[2 + nth] ?? 0) / 255) * 0.14),
    length: width / (0.7 + ((seed[3 + nth] ?? 0) / 255) * 1.1),
    shift: ((seed[4 + nth] ?? 0) / 255) * Math.PI * 2,
  }));
  const pixels = new Uint8Array(width * height);
  for (let x = 0; x < width; x++) {
    const edges = waves.map(({ rise, swing, length, shift }) => rise + swing * Math.sin((x / length) * Math.PI * 2 + shift));
    for (let y = 0; y < height; y++) {
      let depth = 0;
      for (const edge of edges) depth += Math.min(1, Math.max(0, y + 0.5 - edge)) * 0.2;
      pixels[y * width + x] = level(depth);
    }
  }
  return encodePng(width, pixels, blend(ground, ink));
}

const levels = 32;
const level = (part: number): number => Math.round(Math.min(1, Math.max(0, part)) * (levels - 1));

/** The colours between two, evenly. */
function blend(from: Colour, to: Colour): Colour[] {
  return Array.from({ length: levels }, (_, index) => {
    const part = index / (levels - 1);
    const mix = (channel: 0 | 1 | 2 | 3): number => Math.round(from[channel] + (to[channel] - from[channel]) * part);
    return [mix(0), mix(1), mix(2), mix(3)];
  });
}

/** A ground that is light and an ink of a near hue that is not. */
function coloursOf(seed: Buffer): { readonly ground: Colour; readonly ink: Colour } {
  const hue = ((seed[0] ?? 0) / 256) * 360;
  return { ground: colour(hue, 0.62, 0.88), ink: colour(hue + 25 + ((seed[7] ?? 0) % 30), 0.52, 0.47) };
}

/** Hue in degrees, saturation and lightness from 0 to 1. */
function colour(hue: number, saturation: number, lightness: number): Colour {
  const channel = (nth: number): number => {
    const k = (nth + hue / 30) % 12;
    return Math.round(255 * (lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4), 255];
}

const iconPixels = 48;
let icon: Buffer | undefined;

/** The mark of the header of every page, as an icon. */
export function favicon(): Buffer {
  icon ??= icoOf(drawMark(iconPixels), iconPixels);
  return icon;
}

/** Three lines of a log on a rounded ground, and a dot: somebody who hears of the newest. */
function drawMark(size: number): Buffer {
  const unit = size / 32;
  const ground: Colour = [62, 84, 211, 255];
  const palette: Colour[] = [...blend([62, 84, 211, 0], ground), ...blend(ground, [255, 255, 255, 255])];
  const strokes = [
    { from: 9, to: 18, y: 11 },
    { from: 9, to: 23, y: 16 },
    { from: 9, to: 15, y: 21 },
    { from: 22.5, to: 22.5, y: 11 },
  ];
  const pixels = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const at = [(x + 0.5) / unit, (y + 0.5) / unit] as const;
      const corner = Math.hypot(Math.max(Math.abs(at[0] - 16) - 7, 0), Math.max(Math.abs(at[1] - 16) - 7, 0)) - 9;
      const stroke = Math.min(...strokes.map(({ from, to, y: line }) => Math.hypot(at[0] - Math.min(to, Math.max(from, at[0])), at[1] - line) - 1.4));
      const drawn = level(0.5 - stroke * unit);
      pixels[y * size + x] = drawn > 0 ? levels + drawn : level(0.5 - corner * unit);
    }
  }
  return encodePng(size, pixels, palette);
}
