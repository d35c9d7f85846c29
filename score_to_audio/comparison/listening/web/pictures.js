"use strict";
// The piano roll of the column that plays, and the tempo and dynamics of all columns over the score.

(() => {
  const ROLL_SECONDS = 10; // seen at once
  const PLAYHEAD = 0.3; // share of the roll's width
  const KEYS = 34; // pixels left of a picture for its labels
  const BLACK = new Set([1, 3, 6, 8, 10]);

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A canvas of the element's size in device pixels; drawing is in CSS pixels.
  function prepared(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "11px system-ui, sans-serif";
    return { pen, width, height };
  }

  // Longest note before a time that can still sound there, so that few notes are looked at.
  const longest = (notes) => notes.on.reduce((most, on, i) => Math.max(most, notes.off[i] - on), 0);

  class Roll {
    constructor(row, maps, chosen) {
      this.row = row;
      this.maps = maps;
      this.index = 0;
      const pitches = row.cells.flatMap((cell) => (cell.notes ? cell.notes.pitch : []));
      this.low = pitches.reduce((a, b) => Math.min(a, b), 72) - 2;
      this.high = pitches.reduce((a, b) => Math.max(a, b), 60) + 2;
      this.reach = row.cells.map((cell) => (cell.notes ? longest(cell.notes) : 0));
      this.canvas = listening.element("canvas", {
        class: "roll", role: "img", "aria-label": "Piano roll with the sustain pedal below it",
        click: (event) => chosen(this.secondsAt(event.offsetX)),
      });
      this.message = listening.element("p", { class: "roll-message", hidden: true },
        "There is no performance MIDI behind this column.");
      this.root = listening.element("div", { class: "roll-frame" }, this.canvas, this.message);
    }

    x(seconds) { return KEYS + (this.width - KEYS) * (PLAYHEAD + (seconds - this.now) / ROLL_SECONDS); }

    secondsAt(x) { return this.now + ((x - KEYS) / (this.width - KEYS) - PLAYHEAD) * ROLL_SECONDS; }

    draw(index, seconds) {
      const { pen, width, height } = prepared(this.canvas);
      Object.assign(this, { index, now: seconds, width });
      const cell = this.row.cells[index];
      this.message.hidden = Boolean(cell.notes);
      const pedal = 12;
      const key = (height - pedal - 4) / (this.high - this.low + 1);
      const y = (pitch) => (this.high - pitch) * key;
      this.grid(pen, y, key, height, pedal);
      if (!cell.notes) return;
      this.bars(pen, height);
      pen.save();
      pen.beginPath();
      pen.rect(KEYS, 0, width - KEYS, height);
      pen.clip();
      this.notes(pen, cell.notes, y, key);
      this.pedal(pen, cell.pedal, height, pedal);
      pen.restore();
      pen.fillStyle = style("--accent");
      pen.fillRect(this.x(seconds) - 0.75, 0, 1.5, height);
    }

    grid(pen, y, key, height, pedal) {
      for (let pitch = this.low; pitch <= this.high; pitch += 1) {
        if (BLACK.has(pitch % 12)) {
          pen.fillStyle = style("--shade");
          pen.fillRect(KEYS, y(pitch), this.width - KEYS, key);
        }
        if (pitch % 12 === 0) {
          pen.fillStyle = style("--faint-ink");
          pen.fillText(`C${pitch / 12 - 1}`, 6, y(pitch) + key / 2 + 4);
        }
      }
      pen.fillStyle = style("--faint-ink");
      pen.fillText("Ped", 6, height - 2);
      pen.fillStyle = style("--shade");
      pen.fillRect(KEYS, height - pedal, this.width - KEYS, pedal);
    }

    bars(pen, height) {
      pen.fillStyle = style("--line");
      const until = this.now + ROLL_SECONDS;
      for (const [onset, number] of this.row.measures) {
        const seconds = this.maps[this.index].seconds(onset);
        if (seconds < this.now - ROLL_SECONDS || seconds > until) continue;
        const x = this.x(seconds);
        if (x < KEYS) continue;
        pen.fillStyle = style("--line");
        pen.fillRect(x, 0, 1, height);
        pen.fillStyle = style("--faint-ink");
        pen.fillText(number, x + 4, 11);
      }
    }

    notes(pen, notes, y, key) {
      const from = this.now - PLAYHEAD * ROLL_SECONDS;
      const until = from + ROLL_SECONDS;
      const colour = style(listening.colour(this.index));
      const first = Math.max(0, listening.lastUpTo(notes.on, from - this.reach[this.index]));
      for (let i = first; i < notes.on.length && notes.on[i] < until; i += 1) {
        if (notes.off[i] < from) continue;
        const sounds = notes.on[i] <= this.now && this.now < notes.off[i];
        pen.globalAlpha = 0.25 + 0.75 * Math.min(1, Math.max(0, (notes.velocity[i] - 20) / 80));
        pen.fillStyle = sounds ? style("--accent") : colour;
        if (sounds) pen.globalAlpha = 1;
        const left = this.x(notes.on[i]);
        pen.beginPath();
        pen.roundRect(left, y(notes.pitch[i]) + 0.1 * key, Math.max(this.x(notes.off[i]) - left - 0.5, 2),
          Math.max(0.8 * key, 2), 1.5);
        pen.fill();
      }
      pen.globalAlpha = 1;
    }

    pedal(pen, [times, values], height, room) {
      pen.fillStyle = style("--pedal");
      const from = this.now - PLAYHEAD * ROLL_SECONDS;
      for (let i = Math.max(0, listening.lastUpTo(times, from)); i < times.length; i += 1) {
        if (times[i] > from + ROLL_SECONDS) break;
        const end = i + 1 < times.length ? times[i + 1] : from + ROLL_SECONDS;
        const rise = (room * values[i]) / 127;
        pen.fillRect(this.x(times[i]), height - rise, this.x(end) - this.x(times[i]), rise);
      }
    }
  }

  // Values that a scale's lines are drawn at: about four round ones.
  function ticks(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= Math.max(rough * 0.75, 1)) || rough;
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
    return found;
  }

  // Lowest and highest value to show, rare extremes cut off.
  function extent(lines) {
    const values = lines.flatMap((line) => line[1]).filter((value) => value !== null).sort((a, b) => a - b);
    if (!values.length) return null;
    const low = values[Math.floor(0.005 * (values.length - 1))];
    const high = values[Math.ceil(0.995 * (values.length - 1))];
    const margin = Math.max(0.06 * (high - low), 1);
    return [Math.max(low - margin, 1), high + margin];
  }

  class Curves {
    // `chosen` is called with the place that is clicked.
    constructor(row, range, chosen) {
      this.row = row;
      this.range = range;
      this.kinds = [["tempo", "Tempo, quarter notes per minute", true], ["dynamics", "Dynamics, MIDI velocity", false]]
        .map(([key, title, logarithmic]) => ({
          key, title, logarithmic, extent: extent(row.cells.map((cell) => cell[key]).filter(Boolean)),
        }))
        .filter((kind) => kind.extent);
      this.canvas = listening.element("canvas", {
        class: "curves", role: "img",
        "aria-label": "Tempo and dynamics of all columns over the score",
        click: (event) => chosen(this.placeAt(event.offsetX)),
      });
      this.head = listening.element("div", { class: "playhead" });
      this.root = listening.element("div", { class: "curves-frame" }, this.canvas, this.head);
      this.root.hidden = !this.kinds.length;
    }

    x(place) {
      const [first, last] = this.range;
      return KEYS + ((this.width - KEYS - 2) * (place - first)) / Math.max(last - first, 1e-9);
    }

    placeAt(x) {
      const [first, last] = this.range;
      const share = (x - KEYS) / (this.width - KEYS - 2);
      return first + Math.min(1, Math.max(0, share)) * (last - first);
    }

    draw(active) {
      if (!this.kinds.length) return;
      const { pen, width, height } = prepared(this.canvas);
      this.width = width;
      const foot = 16;
      const gap = 20;
      const room = (height - foot) / this.kinds.length - gap;
      this.kinds.forEach((kind, number) => {
        this.panel(pen, kind, gap + number * (room + gap), room, active);
      });
      this.numbers(pen, height);
    }

    panel(pen, kind, top, room, active) {
      const scale = kind.logarithmic ? Math.log : (value) => value;
      const [low, high] = kind.extent.map(scale);
      const y = (value) => top + room * (1 - (scale(value) - low) / (high - low));
      pen.fillStyle = style("--faint-ink");
      pen.fillText(kind.title, KEYS, top - 7);
      for (const value of ticks(...kind.extent)) {
        pen.fillStyle = style("--line");
        pen.fillRect(KEYS, Math.round(y(value)), this.width - KEYS, 1);
        pen.fillStyle = style("--faint-ink");
        pen.textAlign = "right";
        pen.fillText(String(Math.round(value)), KEYS - 6, y(value) + 4);
        pen.textAlign = "left";
      }
      pen.save();
      pen.beginPath();
      pen.rect(KEYS, top - 2, this.width - KEYS, room + 4);
      pen.clip();
      pen.lineJoin = "round";
      this.row.cells.forEach((cell, index) => { if (index !== active) this.line(pen, cell[kind.key], index, y, 1.2, 0.55); });
      this.line(pen, this.row.cells[active]?.[kind.key], active, y, 2.6, 1);
      pen.restore();
    }

    line(pen, points, index, y, thickness, opacity) {
      if (!points) return;
      pen.strokeStyle = style(listening.colour(index));
      pen.lineWidth = thickness;
      pen.globalAlpha = opacity;
      pen.setLineDash(index >= listening.COLOURS ? [5, 3] : []);
      pen.beginPath();
      let drawing = false;
      points[0].forEach((place, i) => {
        const value = points[1][i];
        if (value === null) { drawing = false; return; }
        if (drawing) pen.lineTo(this.x(place), y(value));
        else pen.moveTo(this.x(place), y(value));
        drawing = true;
      });
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 1;
    }

    numbers(pen, height) {
      pen.fillStyle = style("--faint-ink");
      let free = 0;
      for (const [onset, number] of this.row.measures) {
        const x = this.x(onset);
        if (x < Math.max(KEYS - 1, free) || x > this.width - 12) continue;
        pen.fillText(number, x, height - 3);
        free = x + pen.measureText(number).width + 22;
      }
    }

    follow(place) {
      if (this.width) this.head.style.transform = `translateX(${this.x(Math.min(Math.max(place, this.range[0]), this.range[1]))}px)`;
    }
  }

  Object.assign(listening, { Roll, Curves });
})();
