/** The chart, on a canvas: a line or candles, volume, a scale, and a cross hair for mouse, touch and keys. */

const RANGES = {
  "5m": { back: 300_000, text: "5 minutes" },
  "15m": { back: 900_000, text: "15 minutes" },
  "1h": { back: 3_600_000, text: "hour" },
  "6h": { back: 21_600_000, text: "6 hours" },
  "24h": { back: 86_400_000, text: "24 hours" },
};

/** As many buckets as can be told apart. */
const MOST = { line: 400, candles: 96 };

const WIDTHS_MS = [1e3, 5e3, 15e3, 60e3, 300e3, 900e3];

const LEAST_MS = 60_000;

const STEPS_MS = [10e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 14400e3, 21600e3];

const money = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = (time, seconds) =>
  new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }), hour12: false });

/** Which clock the axis shows: the reader's own (`UTC`, `GMT+1`, `EST`). */
const zoneName = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" })
  .formatToParts(0)
  .find((part) => part.type === "timeZoneName").value;

export class Chart {
  kind = "line";
  range = "15m";
  #canvas;
  #series;
  #colors = {};
  #shown = []; // the buckets drawn last
  #cursor = null; // the start of the bucket under the cross hair
  #plot = null;

  /** `onCursor` gets the words for the bucket under the cross hair, or null. */
  constructor(canvas, series, onCursor) {
    this.#canvas = canvas;
    this.#series = series;
    this.onCursor = onCursor;
    this.readColors();
    canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    canvas.addEventListener("pointerdown", (event) => this.#point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.#select(null));
    canvas.addEventListener("blur", () => this.#select(null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  get rangeText() {
    return RANGES[this.range].text;
  }

  /** Takes the page's colours again, after they changed. */
  readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["text", "soft", "edge", "up", "down", "line", "card", "accent"]) {
      this.#colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.#colors.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  }

  /** First and last price in the range, and its low and high; null without two buckets. */
  summary() {
    if (!this.#shown.length) return null;
    const first = this.#shown[0];
    return {
      since: first.start,
      first: first.open,
      last: this.#shown.at(-1).close,
      low: Math.min(...this.#shown.map((bucket) => bucket.low)),
      high: Math.max(...this.#shown.map((bucket) => bucket.high)),
    };
  }

  /** Draws the range that ends at `now`; `faded` when the last price is not of now. */
  draw(now, faded) {
    const { back } = RANGES[this.range];
    const to = now;
    // A feed that is younger than the range gets the whole width for what there is.
    const from = Math.max(to - back, Math.min(this.#series.oldest() ?? 0, to - LEAST_MS));
    const widthMs = WIDTHS_MS.find((each) => (to - from) / each <= MOST[this.kind]);
    const list = this.#series.candles(from, widthMs, this.kind === "candles");
    this.#shown = list;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width || !height) return;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const paint = this.#canvas.getContext("2d");
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);
    paint.font = this.#colors.font;
    if (!list.length) {
      this.#text(paint, "Waiting for prices", width / 2, height / 2, "center", this.#colors.soft);
      return;
    }
    const low = Math.min(...list.map((bucket) => bucket.low));
    const high = Math.max(...list.map((bucket) => bucket.high));
    const pad = Math.max((high - low) * 0.08, high * 2e-5);
    const right = paint.measureText(money.format(high)).width + 18;
    const hasVolume = list.some((bucket) => bucket.volume > 0);
    const bottom = 24;
    const floor = height - bottom - (hasVolume ? height * 0.14 : 0);
    const plot = {
      width, height, right, bottom, widthMs, from, to,
      x: (time) => ((time - from) / (to - from)) * (width - right),
      y: (price) => 8 + ((high + pad - price) / (high - low + 2 * pad)) * (floor - 8),
    };
    this.#plot = plot;
    this.#grid(paint, plot, low - pad, high + pad, plot.y(list.at(-1).close));
    if (hasVolume) this.#volume(paint, plot, list, floor);
    paint.globalAlpha = faded ? 0.45 : 1;
    if (this.kind === "line") this.#line(paint, plot, list, floor);
    else this.#candles(paint, plot, list);
    paint.globalAlpha = 1;
    this.#last(paint, plot, list.at(-1).close, faded);
    this.#crosshair(paint, plot, list);
  }

  #grid(paint, plot, low, high, badgeY) {
    const rough = (high - low) / Math.max(3, plot.height / 80);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
    paint.lineWidth = 1;
    paint.strokeStyle = this.#colors.edge;
    for (let price = Math.ceil(low / step) * step; price < high; price += step) {
      const y = Math.round(plot.y(price)) + 0.5;
      this.#stroke(paint, 0, y, plot.width - plot.right, y);
      if (Math.abs(y - badgeY) > 20) this.#text(paint, money.format(price), plot.width - plot.right + 8, y, "left", this.#colors.soft);
    }
    this.#text(paint, zoneName, plot.width - plot.right + 8, plot.height - 9, "left", this.#colors.soft);
    const wanted = ((plot.to - plot.from) / (plot.width - plot.right)) * 84;
    const stepMs = STEPS_MS.find((each) => each >= wanted) ?? STEPS_MS.at(-1);
    const zone = new Date(plot.to).getTimezoneOffset() * 60_000;
    let time = Math.ceil((plot.from - zone) / stepMs) * stepMs + zone;
    for (; time < plot.to; time += stepMs) {
      const x = Math.round(plot.x(time)) + 0.5;
      const label = clock(time, stepMs < 60_000);
      if (x < paint.measureText(label).width / 2 || x > plot.width - plot.right - 18) continue;
      this.#stroke(paint, x, 8, x, plot.height - plot.bottom);
      this.#text(paint, label, x, plot.height - 9, "center", this.#colors.soft);
    }
  }

  #volume(paint, plot, list, floor) {
    const pace = (bucket) => bucket.volume / (bucket.end - bucket.start); // buckets differ in width
    const most = Math.max(...list.map(pace));
    const room = plot.height - plot.bottom - floor - 6;
    for (const bucket of list) {
      const width = this.#barWidth(plot, bucket);
      const size = (pace(bucket) / most) * room;
      paint.fillStyle = bucket.close >= bucket.open ? this.#colors.up : this.#colors.down;
      paint.globalAlpha = 0.32;
      paint.fillRect(this.#barX(plot, bucket) - width / 2, plot.height - plot.bottom - size, width, size);
    }
    paint.globalAlpha = 1;
  }

  #line(paint, plot, list, floor) {
    // Where nothing was known for a while, the line is broken: it must not show what nobody saw.
    const parts = [];
    for (const bucket of list) {
      const part = parts.at(-1);
      const last = part?.at(-1);
      if (last && bucket.start - last.end <= Math.max(2 * plot.widthMs, last.end - last.start, 10_000)) part.push(bucket);
      else parts.push([bucket]);
    }
    const at = (bucket) => [plot.x(Math.min(bucket.end, plot.to)), plot.y(bucket.close)];
    const shade = paint.createLinearGradient(0, 0, 0, floor);
    shade.addColorStop(0, `${this.#colors.line}40`); // the style sheet's colours are #rrggbb
    shade.addColorStop(1, `${this.#colors.line}00`);
    for (const part of parts) {
      const path = new Path2D();
      path.moveTo(plot.x(part[0].start), plot.y(part[0].open));
      for (const bucket of part) path.lineTo(...at(bucket));
      const area = new Path2D(path);
      area.lineTo(at(part.at(-1))[0], floor);
      area.lineTo(plot.x(part[0].start), floor);
      area.closePath();
      paint.fillStyle = shade;
      paint.fill(area);
      paint.strokeStyle = this.#colors.line;
      paint.lineWidth = 1.8;
      paint.lineJoin = "round";
      paint.stroke(path);
    }
  }

  #candles(paint, plot, list) {
    for (const bucket of list) {
      const width = this.#barWidth(plot, bucket);
      const x = this.#barX(plot, bucket);
      const color = bucket.close >= bucket.open ? this.#colors.up : this.#colors.down;
      paint.strokeStyle = paint.fillStyle = color;
      paint.lineWidth = 1;
      this.#stroke(paint, Math.round(x) + 0.5, plot.y(bucket.high), Math.round(x) + 0.5, plot.y(bucket.low));
      const top = plot.y(Math.max(bucket.open, bucket.close));
      const size = Math.max(1, plot.y(Math.min(bucket.open, bucket.close)) - top);
      paint.fillRect(Math.round(x - width / 2) + 0.5, top, Math.max(1, Math.round(width)), size);
    }
  }

  #last(paint, plot, price, faded) {
    const y = Math.round(plot.y(price)) + 0.5;
    paint.strokeStyle = paint.fillStyle = faded ? this.#colors.soft : this.#colors.line;
    paint.lineWidth = 1;
    paint.setLineDash([3, 4]);
    this.#stroke(paint, 0, y, plot.width - plot.right, y);
    paint.setLineDash([]);
    paint.beginPath();
    paint.roundRect(plot.width - plot.right + 2, y - 10, plot.right - 2, 20, 4);
    paint.fill();
    this.#text(paint, money.format(price), plot.width - plot.right + 8, y + 0.5, "left", this.#colors.card);
  }

  #crosshair(paint, plot, list) {
    const bucket = this.#cursor === null ? null : list.find((each) => each.start === this.#cursor);
    if (!bucket) return;
    const x = Math.round(this.#barX(plot, bucket)) + 0.5;
    paint.strokeStyle = this.#colors.soft;
    paint.lineWidth = 1;
    this.#stroke(paint, x, 8, x, plot.height - plot.bottom);
    paint.fillStyle = this.#colors.text;
    paint.beginPath();
    paint.arc(x, plot.y(bucket.close), 3.5, 0, 7);
    paint.fill();
  }

  // ------------------------------------------------------------------ the cross hair

  #point(x) {
    if (!this.#plot || !this.#shown.length) return;
    let best = this.#shown[0];
    for (const bucket of this.#shown) {
      if (Math.abs(this.#barX(this.#plot, bucket) - x) < Math.abs(this.#barX(this.#plot, best) - x)) best = bucket;
    }
    this.#select(best);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[event.key];
    if (event.key === "Escape") this.#select(null);
    if (!step || !this.#shown.length) return;
    event.preventDefault();
    const here = this.#shown.findIndex((bucket) => bucket.start === this.#cursor);
    const last = this.#shown.length - 1;
    this.#select(this.#shown[Math.max(0, Math.min(last, (here < 0 ? last + (step < 0 ? 1 : 0) : here) + step))]);
  }

  #select(bucket) {
    this.#cursor = bucket?.start ?? null;
    this.onCursor(bucket && this.#words(bucket));
  }

  #words(bucket) {
    const time = clock(bucket.start, bucket.end - bucket.start < 60_000);
    if (this.kind === "line") return `${time}  ${money.format(bucket.close)}`;
    const { open, high, low, close, volume } = bucket;
    const names = [["open", open], ["high", high], ["low", low], ["close", close]];
    const prices = names.map(([name, price]) => `${name} ${money.format(price)}`).join("  ");
    return `${time}  ${prices}${volume ? `  volume ${volume.toFixed(3)} BTC` : ""}`;
  }

  // ------------------------------------------------------------------ small parts

  #barX(plot, bucket) {
    return plot.x(Math.min((bucket.start + bucket.end) / 2, plot.to));
  }

  #barWidth(plot, bucket) {
    return Math.max(1, (plot.x(bucket.end) - plot.x(bucket.start)) * 0.68);
  }

  #stroke(paint, x1, y1, x2, y2) {
    paint.beginPath();
    paint.moveTo(x1, y1);
    paint.lineTo(x2, y2);
    paint.stroke();
  }

  #text(paint, text, x, y, align, color) {
    paint.textAlign = align;
    paint.textBaseline = "middle";
    paint.fillStyle = color;
    paint.fillText(text, x, y);
  }
}
