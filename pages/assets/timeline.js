// The timeline of a run on a canvas: captions, the confidence of every pair in both directions, quality issues.
// Draws only what is in view, a column of pixels at a time, so an hour of film (36,000 pairs) takes a few milliseconds.
"use strict";

const SURE = 0.9, DOUBTFUL = 0.6;
const DIRECTIONS = 2;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The run's data, with precomputed values for drawing. */
class RunData {
  static async read(payload) {
    const [probabilities, used] = await Promise.all([unpack(payload.probabilities), unpack(payload.used)]);
    return new RunData(payload, probabilities, used);
  }

  constructor(payload, probabilities, used) {
    Object.assign(this, payload, { probabilities, used });
    const boundary = payload.labels.map((label) => ["different", "empty_valid", "valid_empty"].includes(label));
    this.confidence = [new Float32Array(this.pairs), new Float32Array(this.pairs)];
    this.boundaries = [];
    for (let pair = 0; pair < this.pairs; pair++) {
      for (let direction = 0; direction < DIRECTIONS; direction++) {
        this.confidence[direction][pair] = this.probability(pair, direction, used[pair]);
      }
      if (boundary[used[pair]]) this.boundaries.push(pair);
    }
    this.isBoundary = (pair) => boundary[used[pair]];
  }

  probability(pair, direction, label) {
    return this.probabilities[(pair * DIRECTIONS + direction) * this.labels.length + label] / 255;
  }

  /** Smaller of both directions' confidences. */
  score(pair) { return Math.min(this.confidence[0][pair], this.confidence[1][pair]); }

  clock(frame) {
    const tenths = Math.round((frame / this.frames_per_second) * 10);
    const two = (number) => String(number).padStart(2, "0");
    return `${Math.floor(tenths / 36000)}:${two(Math.floor(tenths / 600) % 60)}:${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
  }
}

function grade(confidence) { return confidence >= SURE ? "sure" : confidence >= DOUBTFUL ? "doubtful" : "unsure"; }

/** Draws into the elements below `root`; calls `onChoose(pair)` when a boundary or a pair is chosen. */
class Timeline {
  constructor(root, data, onChoose) {
    this.data = data; this.onChoose = onChoose; this.root = root;
    this.lanes = root.querySelector(".lanes"); this.overview = root.querySelector(".overview"); this.position = root.querySelector(".position");
    this.from = 0; this.to = data.pairs + 1; this.chosen = null; this.pending = false; this.follower = null;
    this.changed = new Set(data.changed ?? []);  // captions that the other run lacks, or has at other frames
    this.listen();
    new ResizeObserver(() => this.redraw()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.redraw();
  }

  get length() { return this.to - this.from; }
  get frames() { return this.data.pairs + 1; }

  show(from, to) {
    const length = Math.min(this.frames, Math.max(12, to - from));
    this.from = Math.min(Math.max(0, from), this.frames - length);
    this.to = this.from + length;
    this.redraw();
    if (this.follower && (this.follower.from !== this.from || this.follower.to !== this.to)) this.follower.show(this.from, this.to);
  }

  /** Show the same part of the film as another timeline, whichever of the two is moved. */
  moveWith(other) { this.follower = other; other.follower = this; }

  zoom(factor, around = (this.from + this.to) / 2) {
    const length = Math.min(this.frames, Math.max(12, this.length * factor));
    const share = (around - this.from) / this.length;
    this.show(around - share * length, around + (1 - share) * length);
  }

  pan(frames) { this.show(this.from + frames, this.to + frames); }

  choose(pair, bringIntoView = true) {
    this.chosen = pair;
    if (bringIntoView && (pair < this.from || pair > this.to || this.length > 1200)) this.show(pair - 150, pair + 150);
    this.redraw();
    this.onChoose?.(pair);
  }

  chooseBoundary(step) {
    const { boundaries } = this.data;
    if (!boundaries.length) return;
    const here = this.chosen ?? this.from - 1;
    let next = step > 0 ? boundaries.find((pair) => pair > here) : boundaries.findLast((pair) => pair < here);
    next ??= step > 0 ? boundaries[0] : boundaries.at(-1);
    this.choose(next);
  }

  listen() {
    const { lanes, overview } = this;
    const frameAt = (event, canvas = lanes, from = this.from, length = this.length) => {
      const box = canvas.getBoundingClientRect();
      return from + ((event.clientX - box.left) / box.width) * length;
    };
    lanes.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(((event.deltaX || event.deltaY) / lanes.clientWidth) * this.length);
      else this.zoom(Math.exp(event.deltaY * 0.0015), frameAt(event));
    }, { passive: false });

    const pointers = new Map();
    let moved = 0;
    lanes.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, event); moved = 0; lanes.setPointerCapture(event.pointerId); });
    lanes.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) { if (this.position) this.position.textContent = this.describe(frameAt(event)); return; }
      const before = pointers.get(event.pointerId);
      if (pointers.size === 2) {
        const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
        const spread = (a, b) => Math.max(20, Math.abs(a.clientX - b.clientX));
        this.zoom(spread(before, other) / spread(event, other), (frameAt(event) + frameAt(other)) / 2);
      } else this.pan((-(event.clientX - before.clientX) / lanes.clientWidth) * this.length);
      moved += Math.abs(event.clientX - before.clientX);
      pointers.set(event.pointerId, event);
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId) || event.type === "pointercancel" || moved > 4) return;
      this.choose(this.nearest(frameAt(event)), false);
    };
    lanes.addEventListener("pointerup", end);
    lanes.addEventListener("pointercancel", end);

    const seek = (event) => { const frame = frameAt(event, overview, 0, this.frames); this.show(frame - this.length / 2, frame + this.length / 2); };
    overview?.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); seek(event); });
    overview?.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });

    const actions = {
      ArrowLeft: () => this.pan(-this.length / 8), ArrowRight: () => this.pan(this.length / 8),
      "+": () => this.zoom(0.6), "=": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), 0: () => this.show(0, this.frames),
      Home: () => this.show(0, this.length), End: () => this.show(this.frames - this.length, this.frames),
      n: () => this.chooseBoundary(1), p: () => this.chooseBoundary(-1),
    };
    lanes.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
    const buttons = { "zoom-in": "+", "zoom-out": "-", whole: "0", next: "n", previous: "p" };
    for (const [name, key] of Object.entries(buttons)) this.root.querySelector(`[data-action="${name}"]`)?.addEventListener("click", actions[key]);
  }

  /** The nearest boundary within eight pixels, otherwise the pair itself. */
  nearest(frame) {
    const reach = (8 / this.lanes.clientWidth) * this.length;
    let best = null;
    for (const pair of this.data.boundaries) {
      const distance = Math.abs(pair + 0.5 - frame);
      if (distance <= reach && (best === null || distance < Math.abs(best + 0.5 - frame))) best = pair;
    }
    return best ?? Math.min(this.data.pairs - 1, Math.max(0, Math.floor(frame)));
  }

  describe(frame) {
    const pair = Math.min(this.data.pairs - 1, Math.max(0, Math.floor(frame)));
    return `${this.data.clock(pair)} · frame ${pair} · ${this.data.labels[this.data.used[pair]].replace("_", "–")}`;
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  draw() {
    const style = getComputedStyle(this.root);
    const known = new Map();  // asking the browser for a colour is slow, and 15,000 captions ask
    const colour = (name) => known.get(name) ?? known.set(name, style.getPropertyValue(`--${name}`).trim()).get(name);
    const began = performance.now();
    this.drawLanes(prepare(this.lanes), colour);
    if (this.overview) this.drawOverview(prepare(this.overview), colour);
    this.drawMilliseconds = performance.now() - began;
  }

  drawLanes({ context: c, width, height }, colour) {
    const { data, from } = this;
    const scale = width / this.length, x = (frame) => (frame - from) * scale;
    const first = Math.max(0, Math.floor(from)), last = Math.min(data.pairs - 1, Math.ceil(this.to));
    c.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    this.drawAxis(c, width, height, scale, colour);

    const top = 26, tall = 40;
    data.captions.forEach(([start, end], index) => {
      if (end < first || start > last + 1) return;
      c.fillStyle = colour(index % 2 ? "caption-b" : "caption-a");
      const left = x(start), wide = Math.max(1, x(end + 1) - left - (scale * (end - start + 1) > 4 ? 1 : 0));
      c.fillRect(left, top, wide, tall);
      if (this.changed.has(index)) { c.fillStyle = colour("unsure"); c.fillRect(left, top + tall + 2, wide, 4); }
      if (wide > 34) { c.fillStyle = colour("text"); c.fillText(String(index + 1), Math.max(left, 0) + 5, top + 25); }
    });

    const lane = 62, ahead = 142, back = 150;  // forward rises to its base line, backward hangs from its own
    for (const [direction, base, sign] of [[0, ahead, -1], [1, back, 1]]) {
      c.fillStyle = colour("line");
      c.fillRect(0, base, width, 1);
      this.drawConfidence(c, direction, base, sign * lane, first, last, x, scale, colour);
    }
    c.fillStyle = colour("quiet");
    label(c, "forward", ahead - 52, colour); label(c, "backward", back + 60, colour);

    const marks = height - 10;
    for (const [kind, frame] of data.issues) {
      if (frame < first - 1 || frame > last + 1) continue;
      c.fillStyle = colour(["unsure", "doubtful", "accent", "quiet"][kind] ?? "accent");
      mark(c, kind, x(frame + 0.5), marks);
    }
    if (this.chosen !== null && this.chosen >= first - 1 && this.chosen <= last + 1) {
      c.fillStyle = colour("accent");
      c.fillRect(Math.round(x(this.chosen + 0.5 + 0.5)) - 1, 20, 2, height - 20);
    }
  }

  /** Every pair as a thin area, and each boundary as a column coloured by its confidence. A pixel shows the lowest of its pairs. */
  drawConfidence(c, direction, base, tall, first, last, x, scale, colour) {
    const { data } = this, values = data.confidence[direction];
    const colours = { sure: colour("sure"), doubtful: colour("doubtful"), unsure: colour("unsure") };
    const step = Math.max(1, Math.floor(1 / scale));
    c.globalAlpha = 0.22; c.fillStyle = colour("quiet"); c.beginPath();
    for (let pair = first; pair <= last; pair += step) {
      let lowest = 1;
      for (let each = pair; each < Math.min(pair + step, last + 1); each++) lowest = Math.min(lowest, values[each]);
      c.rect(x(pair), base, Math.max(1, step * scale), tall * lowest);
    }
    c.fill(); c.globalAlpha = 1;
    const columns = new Map();  // pixel -> lowest confidence
    for (const pair of data.boundaries) {
      if (pair < first || pair > last) continue;
      const pixel = Math.round(x(pair + 1));
      columns.set(pixel, Math.min(columns.get(pixel) ?? 1, values[pair]));
    }
    const wide = Math.min(6, Math.max(1.5, scale * 0.7));
    for (const [pixel, confidence] of columns) {
      c.fillStyle = colours[grade(confidence)];
      c.fillRect(pixel - wide / 2, base, wide, tall * Math.max(0.04, confidence));
    }
  }

  drawAxis(c, width, height, scale, colour) {
    const seconds = this.length / this.data.frames_per_second;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600].find((each) => (each / seconds) * width > 76) ?? 7200;
    const begin = Math.ceil(this.from / this.data.frames_per_second / step);
    for (let tick = begin; tick * step <= this.to / this.data.frames_per_second; tick++) {
      const at = (tick * step * this.data.frames_per_second - this.from) * scale;
      c.fillStyle = colour("line"); c.fillRect(Math.round(at), 18, 1, height - 18);
      c.fillStyle = colour("quiet");
      const text = this.data.clock(tick * step * this.data.frames_per_second);
      c.fillText(step < 1 ? text : text.slice(0, -2), at + 3, 13);
    }
  }

  drawOverview({ context: c, width, height }, colour) {
    const { data } = this, scale = width / this.frames;
    c.fillStyle = colour("caption-a");
    for (const [start, end] of data.captions) c.fillRect(start * scale, 10, Math.max(0.5, (end + 1 - start) * scale - 0.5), height - 20);
    for (const [pair, score] of data.attention) {
      c.fillStyle = colour(grade(score));
      c.fillRect((pair + 1) * scale - 0.75, 2, 1.5, height - 4);
    }
    c.fillStyle = colour("unsure");
    for (const index of this.changed) c.fillRect(data.captions[index][0] * scale - 0.75, 2, 1.5, height - 4);
    c.fillStyle = colour("shade"); c.fillRect(this.from * scale, 0, this.length * scale, height);
    c.strokeStyle = colour("accent"); c.lineWidth = 1.5; c.strokeRect(this.from * scale + 0.75, 0.75, Math.max(3, this.length * scale - 1.5), height - 1.5);
  }
}

function prepare(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function label(c, text, y, colour) {
  c.fillStyle = colour("raised"); c.globalAlpha = 0.8; c.fillRect(2, y - 11, c.measureText(text).width + 6, 15); c.globalAlpha = 1;
  c.fillStyle = colour("quiet"); c.fillText(text, 5, y);
}

/** Triangle, diamond, square or disc: the kinds of issue differ in shape as well as in colour. */
function mark(c, kind, x, y) {
  c.beginPath();
  if (kind === 0) { c.moveTo(x, y - 6); c.lineTo(x + 6, y + 5); c.lineTo(x - 6, y + 5); }
  else if (kind === 1) { c.moveTo(x, y - 6); c.lineTo(x + 6, y); c.lineTo(x, y + 6); c.lineTo(x - 6, y); }
  else if (kind === 3) c.rect(x - 4.5, y - 4.5, 9, 9);
  else c.arc(x, y, 4.5, 0, 2 * Math.PI);
  c.fill();
}
