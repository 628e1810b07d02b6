// From what the server has counted since its start to what it does now: rates and latencies of the last seconds.

const WINDOW = 10; // seconds
const ALL = ""; // the key of the sums of all predictions

export class Figures {
  #looks = [];

  add(look) {
    const last = this.#looks.at(-1);
    // Another server, the same one started again, or an answer that was overtaken: counts do not go on from there.
    if (last && (look.process !== last.process || look.seconds <= last.seconds)) this.#looks = [];
    // Added up by version once: there may be thousands of them.
    this.#looks.push({ ...look, sums: sumsOf(look), gauges: new Map(look.models.map((one) => [keyOf(one.model, one.version), one])) });
    const age = (i) => look.seconds - this.#looks[i].seconds;
    // The second test is for pauses: what was before one must not stay in the sum for another ten seconds.
    while (this.#looks.length > 2 && (age(1) >= WINDOW || age(0) > 2 * WINDOW)) this.#looks.shift();
  }

  clear() {
    this.#looks = [];
  }

  get last() {
    return this.#looks.at(-1) ?? null;
  }

  // Of a version's predictions; null before there are two looks.
  now(model, version) {
    return this.#now(keyOf(model, version));
  }

  // Of all predictions.
  get all() {
    return this.#now(ALL);
  }

  #now(key) {
    if (this.#looks.length < 2) return null;
    const first = this.#looks[0], last = this.#looks.at(-1);
    const before = first.sums.get(key) ?? nothing(first), after = last.sums.get(key) ?? nothing(last);
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
    return this.last?.gauges.get(keyOf(model, version)) ?? null;
  }
}

function keyOf(model, version) {
  return `${version} ${model}`;
}

function nothing(look) {
  return { ok: 0, failed: 0, buckets: Array(look.bounds_us.length + 1).fill(0) };
}

function sumsOf(look) {
  const sums = new Map();
  for (const call of look.calls) {
    if (call.model === "") continue; // calls of no model
    for (const key of [ALL, keyOf(call.model, call.version)]) {
      if (!sums.has(key)) sums.set(key, nothing(look));
      const sum = sums.get(key);
      sum.ok += call.ok;
      sum.failed += call.failed;
      call.buckets.forEach((count, i) => (sum.buckets[i] += count));
    }
  }
  return sums;
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
