// From what the server has counted since its start to what it does now: rates and latencies of the last seconds.

const WINDOW = 10; // seconds

export class Figures {
  #looks = [];

  add(look) {
    const last = this.#looks.at(-1);
    if (last && look.seconds <= last.seconds) this.#looks = []; // another server, or the same one started again
    this.#looks.push(look);
    while (this.#looks.length > 2 && look.seconds - this.#looks[1].seconds >= WINDOW) this.#looks.shift();
  }

  clear() {
    this.#looks = [];
  }

  get last() {
    return this.#looks.at(-1) ?? null;
  }

  // Of the calls for which `matches`; null before there are two looks.
  now(matches) {
    if (this.#looks.length < 2) return null;
    const first = this.#looks[0], last = this.#looks.at(-1);
    const before = sum(first, matches), after = sum(last, matches);
    const counts = after.buckets.map((count, i) => count - (before.buckets[i] ?? 0));
    const seconds = last.seconds - first.seconds;
    return {
      ok: (after.ok - before.ok) / seconds,
      failed: (after.failed - before.failed) / seconds,
      p50: quantile(counts, last.bounds_us, 0.5),
      p95: quantile(counts, last.bounds_us, 0.95),
      total: after.ok + after.failed,
    };
  }

  gauges(model, version) {
    return this.last?.models.find((one) => one.model === model && one.version === version) ?? null;
  }
}

function sum(look, matches) {
  const result = { ok: 0, failed: 0, buckets: Array(look.bounds_us.length + 1).fill(0) };
  for (const call of look.calls.filter(matches)) {
    result.ok += call.ok;
    result.failed += call.failed;
    call.buckets.forEach((count, i) => (result.buckets[i] += count));
  }
  return result;
}

// The duration that a share `q` of the calls stays below, as Prometheus' histogram_quantile estimates it: evenly spread
// within a bucket. NaN if there were none, infinite if it lies beyond the last bound. Counts are not cumulative.
export function quantile(counts, bounds, q) {
  const wanted = q * counts.reduce((total, count) => total + count, 0);
  if (wanted <= 0) return NaN;
  let below = 0;
  for (let i = 0; i < bounds.length; ++i) {
    if (below + counts[i] >= wanted) {
      const low = i ? bounds[i - 1] : 0;
      return low + ((bounds[i] - low) * (wanted - below)) / counts[i];
    }
    below += counts[i];
  }
  return Infinity;
}

export function durationText(microseconds) {
  if (Number.isNaN(microseconds)) return "-";
  if (microseconds === Infinity) return "over a minute";
  const [value, unit] = microseconds < 1e3 ? [microseconds, "µs"] : microseconds < 1e6 ? [microseconds / 1e3, "ms"] : [microseconds / 1e6, "s"];
  return `${Number(value.toPrecision(2))} ${unit}`;
}

export function rateText(rate) {
  return rate === 0 ? "0" : rate < 10 ? rate.toFixed(1) : rate.toFixed(0);
}
