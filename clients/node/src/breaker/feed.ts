// One subscription of a client for all its breakers: what the server pushes goes to the breaker of that name.
import {backoffMs} from '../backoff.js';
import type {EventStream} from '../events.js';
import type {PortcullisClient} from '../portcullis.js';
import type {PortcullisEvent} from '../types.js';

/** A breaker as the feed sees it. */
export interface Follower {
  readonly key: string;
  /** An event of this breaker. */
  pushed(event: PortcullisEvent): void;
  /** Something may have been missed: ask for the state. */
  refresh(): void;
  /** No connection of the client is left: see whether the server is there. */
  check(): void;
  /** A connection was made. */
  connected(): void;
}

const types = ['breaker_opened', 'breaker_half_opened', 'breaker_closed', 'breaker_override_set', 'breaker_override_cleared', 'breaker_retired'];

/** How long the subscription is kept for the next breaker after the last one went, ms. */
const lingerMs = 5000;

/** The key of a breaker among those of a client. */
export function keyOf(service: string, breaker: string): string { return `${service}/${breaker}`; }

/** Follows the server's events for as long as there is a breaker to tell. */
export class Feed {
  /** The subscription is there: changes come by themselves. */
  live = false;
  private readonly followers = new Map<string, Follower>();
  private stream: EventStream | undefined;
  private timer: NodeJS.Timeout | undefined;
  private linger: NodeJS.Timeout | undefined;
  private attempt = 0;
  private readonly onConnect = (): void => { for (const each of this.followers.values()) each.connected(); };
  private readonly onDisconnect = (): void => {
    if (this.client.stats().connected === 0) for (const each of this.followers.values()) each.check();
  };

  constructor(private readonly client: PortcullisClient) {}

  get(key: string): Follower | undefined { return this.followers.get(key); }

  add(follower: Follower): void {
    this.followers.set(follower.key, follower);
    clearTimeout(this.linger);
    this.linger = undefined;
    if (this.stream !== undefined || this.timer !== undefined) return;
    this.client.on('connect', this.onConnect);
    this.client.on('disconnect', this.onDisconnect);
    this.subscribe();
  }

  remove(follower: Follower): void {
    if (this.followers.get(follower.key) !== follower) return;
    this.followers.delete(follower.key);
    if (this.followers.size > 0) return;
    this.linger = setTimeout(() => this.stop(), lingerMs);
    this.linger.unref();
  }

  private stop(): void {
    this.client.off('connect', this.onConnect);
    this.client.off('disconnect', this.onDisconnect);
    clearTimeout(this.timer);
    this.timer = undefined;
    const {stream} = this;
    this.stream = undefined;
    this.live = false;
    void stream?.return();
  }

  private subscribe(): void {
    this.timer = undefined;
    const stream = this.client.events.subscribe({types});
    this.stream = stream;
    stream.ready.then(() => {
      if (this.stream !== stream) return;
      this.live = true;
      this.attempt = 0;
      // What changed before the subscription began was not pushed.
      for (const each of this.followers.values()) each.refresh();
    }, () => {});
    void this.read(stream);
  }

  private async read(stream: EventStream): Promise<void> {
    try {
      for await (const {event} of stream) {
        const {service, breaker} = event as {service?: string; breaker?: string};
        this.followers.get(keyOf(service ?? '', breaker ?? ''))?.pushed(event);
      }
    } catch {
      // It cannot go on: a cursor that is too old, or a token without the right. Replies still tell the state.
    }
    if (this.stream !== stream) return;
    this.live = false;
    this.stream = undefined;
    if (this.client.closed) {
      clearTimeout(this.linger);
      this.stop();
      return;
    }
    this.timer = setTimeout(() => this.subscribe(), 500 + backoffMs(this.attempt++, 1000, 30_000, Math.random()));
    this.timer.unref();
  }
}

const feeds = new WeakMap<PortcullisClient, Feed>();

/** The one feed of a client. */
export function feedOf(client: PortcullisClient): Feed {
  let feed = feeds.get(client);
  if (feed === undefined) feeds.set(client, feed = new Feed(client));
  return feed;
}
