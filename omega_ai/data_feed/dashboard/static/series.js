/** Prices by time: what the chart draws. Bounded; pure. Times are ms since the Unix epoch. */

const SECOND = 1000;
const MINUTE = 60_000;

/** Buckets of one width in order of time; the oldest go when there are more than `keep`. */
class Buckets {
  constructor(widthMs, keep) {
    this.widthMs = widthMs;
    this.keep = keep;
    this.list = [];
  }

  /** The bucket at `start`; made if missing. Most are the last or come after it. */
  at(start) {
    const { list } = this;
    let index = list.length;
    while (index > 0 && list[index - 1].start > start) index -= 1;
    if (index > 0 && list[index - 1].start === start) return list[index - 1];
    const bucket = { start, open: null, high: -Infinity, low: Infinity, close: null, volume: 0 };
    list.splice(index, 0, bucket);
    if (list.length > this.keep) list.shift();
    return bucket;
  }
}

/** One source of prices, by the second and by the minute. */
class Source {
  constructor() {
    this.seconds = new Buckets(SECOND, 2 * 3600);
    this.minutes = new Buckets(MINUTE, 26 * 60);
  }

  tick(time, price) {
    for (const buckets of [this.seconds, this.minutes]) {
      const bucket = buckets.at(time - (time % buckets.widthMs));
      bucket.open ??= price;
      bucket.high = Math.max(bucket.high, price);
      bucket.low = Math.min(bucket.low, price);
      bucket.close = price;
    }
  }

  candle(widthMs, start, { open, high, low, close, volume }) {
    const buckets = widthMs === SECOND ? this.seconds : this.minutes;
    Object.assign(buckets.at(start), { open, high, low, close, volume });
  }

  /** When the oldest thing known began; Infinity when nothing is. */
  oldest() {
    const second = this.seconds.list[0]?.start ?? Infinity;
    const minute = this.minutes.list[0]?.start ?? Infinity;
    return minute + MINUTE > second ? second : minute;
  }

  /** From `from` on, in buckets of `widthMs`, or of a minute where nothing finer is known. */
  between(from, widthMs) {
    const fine = widthMs < MINUTE ? this.seconds.list : [];
    const fineFrom = fine.length ? fine[0].start : Infinity;
    const found = [];
    for (const bucket of this.minutes.list) {
      // The minute in which the seconds begin is left out: what it says of them would be drawn before them.
      if (bucket.start + MINUTE > fineFrom) break;
      if (bucket.start >= from) join(found, bucket, Math.max(MINUTE, widthMs));
    }
    for (const bucket of fine) if (bucket.start >= from) join(found, bucket, widthMs);
    return found;
  }
}

/** The consolidated price and the trades' candles, merged for drawing. */
export class Series {
  constructor() {
    this.clear();
  }

  /** Forgets all. */
  clear() {
    this.price = new Source();
    this.trades = new Source();
  }

  addPrice(time, price) {
    this.price.tick(time, price);
  }

  /** A `candles` message; a later one for the same interval replaces it. */
  addCandle(message) {
    const widthMs = message.interval === "1m" ? MINUTE : message.interval === "1s" ? SECOND : null;
    if (widthMs !== null) this.trades.candle(widthMs, Date.parse(message.start), message);
  }

  /** When the oldest thing known began; null when nothing is. */
  oldest() {
    const oldest = Math.min(this.price.oldest(), this.trades.oldest());
    return oldest === Infinity ? null : oldest;
  }

  /**
   * Candles of `widthMs` (or of a minute where nothing finer is known) from `from` on, oldest first. With
   * `preferTrades` they are made of trades where there are any, otherwise of the consolidated price; without,
   * the other way round. Volume is of trades always.
   */
  candles(from, widthMs, preferTrades) {
    const first = from - (from % widthMs);
    const price = this.price.between(first, widthMs);
    const trades = this.trades.between(first, widthMs);
    const [main, other] = preferTrades ? [trades, price] : [price, trades];
    const merged = [];
    let at = 0;
    for (const bucket of main) {
      for (; at < other.length && other[at].end <= bucket.start; at += 1) merged.push(other[at]);
      while (at < other.length && other[at].start < bucket.end) {
        if (!preferTrades) bucket.volume += other[at].volume;
        at += 1;
      }
      merged.push(bucket);
    }
    merged.push(...other.slice(at));
    return merged;
  }
}

/** Adds `part` to the last of `list`, if it is of the same bucket of `widthMs`, or else as a new one. */
function join(list, part, widthMs) {
  if (part.close === null) return;
  const start = part.start - (part.start % widthMs);
  const last = list.at(-1);
  if (last?.start !== start) {
    list.push({ ...part, start, end: start + widthMs });
    return;
  }
  last.high = Math.max(last.high, part.high);
  last.low = Math.min(last.low, part.low);
  last.close = part.close;
  last.volume += part.volume;
}
