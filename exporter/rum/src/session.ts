// Knows the visit: an id in sessionStorage and nowhere else, new after half an hour without a sign.
import { safely, unique } from "./transport";

const KEY = "hp.session";
const QUIET = 30 * 60_000;

interface Kept {
  id: string;
  last: number;
  chance: number;
}

export class Session {
  private _kept: Kept | undefined = safely(() => JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Kept) ?? undefined;

  constructor(private readonly _begun: () => void) {}

  /** Give the id; a new one is told to `begun`. */
  id(): string {
    const now = Date.now();
    const old = this._kept;
    if (!old?.id || now - old.last > QUIET) {
      this._kept = { id: unique(), last: now, chance: Math.random() };
      this._begun();
    }
    const kept = this._kept as Kept;
    kept.last = now;
    safely(() => sessionStorage.setItem(KEY, JSON.stringify(kept)));
    return kept.id;
  }

  /** Say whether this session is the one in n that is watched. */
  taken(n: number): boolean {
    this.id();
    return (this._kept?.chance ?? 0) * n < 1;
  }
}
