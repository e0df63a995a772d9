/** Types of `omega-client.js`: a client for the wire contract `omega.v2`. */

export declare const SUBPROTOCOL: "omega.v2";

export type SequencedChannel = "btc_price" | "trades" | "quotes" | "candles" | "status" | "broadcast";
export type Channel = SequencedChannel | "heartbeat";
export type Mode = "all" | "latest";
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/** ISO 8601 in UTC with microseconds and `Z`. */
export type Timestamp = string;

/** A place in a channel's sequence: everything up to and including `seq` of `epoch`. */
export interface Position {
  epoch: string;
  seq: number;
}

interface Published extends Position {
  timestamp?: Timestamp;
  /** Present and true when it is of no market: made up, or of a recording. A price says it by its `state`. */
  simulated?: true;
}

export type PriceState = "live" | "degraded" | "stale" | "simulated";

/** One source's part in the price: used, or the reason why not (a fixed word). */
export interface SourcePrice {
  used: boolean;
  price?: number;
  age_ms?: number;
  reason?: string;
}

/** The consolidated price. Numbers are doubles here; read the raw text if you need the venue's digits. */
export interface BtcPrice extends Published {
  type: "btc_price";
  symbol: string;
  price: number;
  /** BTC in 24 hours, summed over the venues used; null until known. */
  volume: number | null;
  bid: number | null;
  ask: number | null;
  timestamp: Timestamp;
  source_timestamp: Timestamp | null;
  sources: Record<string, SourcePrice>;
  state: PriceState;
}

export interface Trade extends Published {
  type: "trades";
  venue: string;
  symbol: string;
  trade_id: string;
  price: number;
  size: number;
  /** The taker's side. */
  side: "buy" | "sell" | null;
  timestamp: Timestamp;
  received_at: Timestamp;
}

export interface Quote extends Omit<Published, "timestamp"> {
  type: "quotes";
  venue: string;
  symbol: string;
  bid: number;
  bid_size: number | null;
  ask: number;
  ask_size: number | null;
  timestamp: Timestamp | null;
  received_at: Timestamp;
}

export interface Candle extends Published {
  type: "candles";
  symbol: string;
  interval: "1s" | "1m";
  start: Timestamp;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  trades: number;
  final: boolean;
  late: number;
}

export interface VenueStatus extends Published {
  type: "status";
  venue: string;
  state: "connecting" | "live" | "stale" | "reconnecting" | "stopped";
  age_ms: number | null;
  messages: number;
  gaps: number;
  reconnects: number;
  refused: number;
  timestamp: Timestamp;
  detail?: string;
}

export interface Broadcast extends Published {
  type: "broadcast";
  timestamp: Timestamp;
  [field: string]: unknown;
}

export type FeedMessage = BtcPrice | Trade | Quote | Candle | VenueStatus | Broadcast;

export interface Heartbeat {
  type: "heartbeat";
  timestamp: Timestamp;
  channels: Record<string, Position>;
}

export interface Subscribed extends Partial<Position> {
  type: "subscribed";
  id?: number | string;
  channel: Channel;
  mode: Mode;
  interval_ms?: number;
  recovered: boolean;
}

export interface HistoryAnswer extends Position {
  type: "history";
  channel: SequencedChannel;
  messages: FeedMessage[];
}

export interface StateChange {
  state: State;
  /** Close code and reason of the connection that ended. */
  code?: number;
  reason?: string;
  willRetry?: boolean;
  retryInMs?: number;
  /** Which attempt in a row without data this is, from 1. */
  attempt?: number;
}

/** A jump that should not be: messages `from + 1` to `to - 1` did not come. The client resumes by itself. */
export interface Gap {
  channel: SequencedChannel;
  epoch: string;
  from: number;
  to: number;
}

/** Continuity ended and was told: what was between `previous` and now cannot be had from the feed. */
export interface Reset {
  channel: SequencedChannel;
  epoch: string;
  previous: Position;
}

export interface Events {
  state: StateChange;
  message: FeedMessage;
  btc_price: BtcPrice;
  trades: Trade;
  quotes: Quote;
  candles: Candle;
  status: VenueStatus;
  broadcast: Broadcast;
  heartbeat: Heartbeat;
  subscribed: Subscribed;
  gap: Gap;
  reset: Reset;
  error: OmegaError;
}

export interface Options {
  /** Default: `["btc_price"]`. */
  channels?: Channel[];
  /** `all` (default): every message once, in order. `latest`: the newest, at most one per `intervalMs`. */
  mode?: Mode;
  intervalMs?: number;
  /** Where to go on from, as `positions` gave it. */
  since?: Partial<Record<SequencedChannel, Position>>;
  /** A JWT; sent in an `auth` message, never in the address. */
  token?: string | null;
  /** For Node without its own. Anything with the browser's interface. */
  WebSocket?: new (url: string, protocols?: string | string[]) => unknown;
  backoff?: { initialMs?: number; maxMs?: number; random?: () => number };
  connectTimeoutMs?: number;
  /** A connection on which nothing, not even a heartbeat, is heard for so long is cut; 0 turns that off. */
  silenceMs?: number;
  requestTimeoutMs?: number;
  /** Time as an argument, for tests. */
  timers?: {
    setTimeout?: (action: () => void, ms: number) => unknown;
    clearTimeout?: (timer: unknown) => void;
    now?: () => number;
  };
}

export declare function mayReconnect(code: number): boolean;
export declare function backoff(
  failures: number,
  options?: { initialMs?: number; maxMs?: number; random?: () => number },
): number;

/** The server's `error` message. */
export declare class OmegaError extends Error {
  readonly code: string;
  readonly field: string | null;
  readonly temporary: boolean;
  readonly retryAfterMs: number | null;
}

export declare class OmegaClient {
  constructor(url: string | URL, options?: Options);
  readonly state: State;
  readonly positions: Partial<Record<SequencedChannel, Position>>;
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  connect(): void;
  retryNow(): void;
  close(code?: number, reason?: string): void;
  subscribe(channels: Channel[], options?: { mode?: Mode; intervalMs?: number }): void;
  unsubscribe(channels: Channel[]): void;
  history(
    channel: SequencedChannel,
    options?: { limit?: number; since?: Position },
  ): Promise<HistoryAnswer>;
  ping(): Promise<{ rttMs: number; offsetMs: number }>;
  request(message: { type: string; [field: string]: unknown }): Promise<unknown>;
  send(message: { type: string; [field: string]: unknown }): boolean;
}
