// The move from another store: how a session that is unknown here is taken over, and how one is ended in both places.
//
// A logout is a logout, whichever of the two stores has the session, and whether the other one can be written to or not: what was
// destroyed is kept from coming back by its id, which the server remembers as ended.
import type {SessionData} from '../types.js';

/** A store that sessions are moved from: any express-session store. */
export interface OldStore {
  /** Gives the session, or nothing where there is none. */
  get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): unknown;
  /** Ends it there. */
  destroy(sid: string, callback: (error?: unknown) => void): unknown;
}

/** How often a destroy is tried there. */
const destroyAttempts = 3;
/** Ids whose copy could not be destroyed there and is tried again when they come; of more the oldest are forgotten. */
const leftoversMax = 1000;

/** What a move needs of the store that it moves to. */
export interface NewStore {
  /** Ends the session here; how many there were. */
  revoke(): Promise<number>;
  /** Takes the id, where it is not taken, so that nothing is moved to it any more. */
  occupy(): Promise<void>;
}

/** A session store that sessions are moved from. @internal */
export class Migration {
  private readonly leftovers = new Set<string>();

  /** @param failed hears of copies that are left there */
  constructor(private readonly old: OldStore, private readonly failed: (error: unknown) => void) {}

  /** The session there. */
  get(sid: string): Promise<SessionData | null | undefined> {
    return new Promise((resolve, reject) => {
      void this.old.get(sid, (error, found) => error ? reject(error) : resolve(found));
    });
  }

  /** Destroys the copy there. Where that fails it is told, and tried again when the id comes again. */
  async remove(sid: string): Promise<void> {
    for (let attempt = 1; ; ++attempt) {
      try {
        await new Promise<void>((resolve, reject) => { void this.old.destroy(sid, (error) => error ? reject(error) : resolve()); });
        this.leftovers.delete(sid);
        return;
      } catch (error) {
        if (attempt < destroyAttempts) continue;
        if (this.leftovers.size >= leftoversMax) this.leftovers.delete(this.leftovers.values().next().value as string);
        this.leftovers.add(sid);
        this.failed(error);
        return;
      }
    }
  }

  /** Tries again to destroy a copy that was left there. */
  async retry(sid: string): Promise<void> {
    if (this.leftovers.has(sid)) await this.remove(sid);
  }

  /**
   * Ends a session in both places. One that has not moved yet leaves its id taken here: a request that read it there before cannot move
   * it any more, nor can a copy that could not be destroyed be moved later.
   */
  async end(sid: string, store: NewStore): Promise<void> {
    // Looked up there first: one that another request moves meanwhile is created here before it is gone there.
    let mayBeThere = true;
    try {
      const found = await this.get(sid);
      mayBeThere = found !== undefined && found !== null;
    } catch {
      // It is ended here as if it were there, and `remove` tells.
    }
    const ended = await store.revoke();
    if (!mayBeThere) return;
    if (ended === 0) {
      await store.occupy();
      await store.revoke();
    }
    await this.remove(sid);
  }
}
