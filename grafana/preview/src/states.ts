// The states of a state timeline.

export interface Reading {
  at: number;
  text: string;
  color: string;
}

export interface State {
  from: number;
  to: number;
  text: string;
  color: string;
}

/** A reading holds until the next, and no longer than `gap`; neighbours that read the same are one. All in ms. */
export function states(readings: Reading[], end: number, gap: number): State[] {
  const found: State[] = [];
  readings.forEach(({ at, text, color }, index) => {
    const to = Math.min(readings[index + 1]?.at ?? end, at + gap, end);
    const last = found.at(-1);
    if (last?.text === text && last.to === at) last.to = to;
    else found.push({ from: at, to, text, color });
  });
  return found;
}
