"use strict";
// What comparison and blind test share: one row with its player, score, pictures and the bar below the page.

(() => {
  const { element } = listening;

  class Bar {
    constructor() {
      const shown = { stage: null };
      this.shown = shown;
      this.play = element("button", { type: "button", class: "play", "aria-label": "Play", click: () => shown.stage?.player.toggle() });
      this.what = element("div", { class: "bar-what" });
      this.where = element("div", { class: "bar-where" });
      this.time = element("span", { class: "bar-time" }, "0:00");
      this.length = element("span", { class: "bar-time" }, "0:00");
      this.seek = element("input", {
        type: "range", min: "0", max: "1000", value: "0", step: "1", class: "seek", "aria-label": "Place in the recording",
        input: () => shown.stage?.player.seek((this.seek.value / 1000) * shown.stage.player.cell.duration),
      });
      this.volume = element("input", {
        type: "range", min: "0", max: "100", value: "100", class: "volume", "aria-label": "Volume",
        input: () => this.apply(),
      });
      this.matched = element("input", { type: "checkbox", checked: true, change: () => this.apply() });
      this.help = element("button", { type: "button", class: "plain", "aria-label": "Keys", title: "Keys (?)" }, "?");
      this.matchedLabel = element("label", { class: "matched", title: "All columns of a row at the same loudness (ITU-R BS.1770)" },
        this.matched, " equal loudness");
      this.root = element("div", { class: "bar", role: "region", "aria-label": "Player" },
        this.play,
        element("div", { class: "bar-text" }, this.what, this.where),
        element("div", { class: "bar-seek" }, this.time, this.seek, this.length),
        element("div", { class: "bar-more" }, this.matchedLabel,
          element("label", { class: "volume-label" }, element("span", { class: "visually-hidden" }, "Volume"), this.volume), this.help));
    }

    show(stage) {
      this.shown.stage = stage;
      this.apply();
      this.update();
    }

    apply() {
      const player = this.shown.stage?.player;
      if (!player || player.current < 0) return;
      player.matched = this.matched.checked;
      player.volume = this.volume.value / 100;
      if (player.sounds[player.current]) player.setVolume();
    }

    update() {
      const stage = this.shown.stage;
      if (!stage || stage.player.current < 0) return;
      const { player } = stage;
      const state = player.playing ? "Pause" : "Play";
      if (this.play.getAttribute("aria-label") !== state) this.play.setAttribute("aria-label", state);
      this.play.classList.toggle("playing", player.playing);
      const seconds = player.seconds;
      const length = player.cell.duration;
      this.time.textContent = listening.clock(seconds);
      this.length.textContent = listening.clock(length);
      if (document.activeElement !== this.seek || player.playing) this.seek.value = String(length ? (1000 * seconds) / length : 0);
      this.seek.setAttribute("aria-valuetext", `${listening.clock(seconds)} of ${listening.clock(length)}`);
      this.what.textContent = stage.nameOf(player.current);
      this.what.style.setProperty("--own", stage.blind ? "var(--accent)" : `var(${listening.colour(player.current)})`);
      const measure = stage.measureAt(player.place);
      this.where.textContent = [stage.row.name, measure && `measure ${measure}`].filter(Boolean).join(", ");
    }
  }

  // A row that is open. `cells`: of the overview, with `audio`, `duration`, `gain`; `row`: its loaded data.
  class Stage {
    constructor({ cells, row, bar, nameOf, changed, blind = false }) {
      this.row = { ...row, cells: cells.map((cell, index) => ({ ...cell, ...row.cells[index] })) };
      this.bar = bar;
      this.nameOf = nameOf;
      this.blind = blind;
      this.told = changed;
      this.player = new listening.Player(this.row.cells, () => this.changed(), (reason) => this.failed(reason));
      this.range = listening.rangeOf(this.row.cells);
      this.measureOnsets = this.row.measures.map(([onset]) => onset);
      this.alert = element("p", { class: "alert", role: "alert", hidden: true });
      const goTo = (place) => { this.player.seekPlace(place); };
      this.score = row.pages ? new listening.ScoreView(this.row, goTo, () => this.player.place) : null;
      this.roll = blind ? null : new listening.Roll(this.row, this.player.maps, (seconds) => this.player.seek(seconds));
      this.curves = blind ? null : new listening.Curves(this.row, this.range, goTo);
      this.notesByOnset = row.notes ? row.notes.q : [];
      this.root = element("div", { class: "stage-views" }, this.alert,
        row.notice ? element("p", { class: "notice" }, row.notice) : null,
        this.score?.root, this.roll?.root);
      this.longestWritten = row.notes ? row.notes.d.reduce((a, b) => Math.max(a, b), 0) : 0;
      this.resized = new ResizeObserver(() => { this.redraw(); });
      this.resized.observe(this.root);
      this.dark = matchMedia("(prefers-color-scheme: dark)");
      this.redraw = this.redraw.bind(this);
      this.dark.addEventListener("change", this.redraw);
    }

    redraw() {
      if (this.player.current < 0) return;
      this.curves?.draw(this.player.current);
      this.frame();
    }

    // One picture of the current moment; while playing, one follows another.
    frame() {
      const { player } = this;
      const seconds = player.seconds;
      const place = player.place;
      this.score?.follow(place, player.playing || seconds > 0 ? this.sounding(seconds, place) : []);
      this.roll?.draw(player.current, seconds);
      this.curves?.follow(place);
      this.bar.update();
    }

    changed() {
      this.bar.update();
      this.told(this);
      if (this.drawn !== this.player.current) {
        this.drawn = this.player.current;
        this.curves?.draw(this.player.current);
      }
      this.frame();
      if (this.player.playing && !this.running) this.run();
    }

    run() {
      this.running = true;
      const step = () => {
        if (!this.player.playing) { this.running = false; this.frame(); return; }
        this.frame();
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }

    // Indices of the score notes that sound: by their own times where these are known, else as written.
    sounding(seconds, place) {
      const { notes } = this.player.cell;
      const found = [];
      if (notes && notes.note) {
        const reach = this.roll ? this.roll.reach[this.player.current] : 10;
        for (let i = listening.lastUpTo(notes.on, seconds); i >= 0 && notes.on[i] >= seconds - reach; i -= 1) {
          if (notes.off[i] > seconds && notes.note[i] >= 0) found.push(notes.note[i]);
        }
        return found;
      }
      const written = this.row.notes;
      if (!written) return found;
      for (let i = listening.lastUpTo(written.q, place + 1e-6); i >= 0 && written.q[i] >= place - this.longestWritten; i -= 1) {
        if (written.q[i] + written.d[i] > place) found.push(i);
      }
      return found;
    }

    measureAt(place) {
      const index = listening.lastUpTo(this.measureOnsets, place + 1e-6);
      return index < 0 ? "" : this.row.measures[index][1];
    }

    // Measures where there is a score, else five seconds.
    step(direction) {
      const { player } = this;
      if (!this.measureOnsets.length) { player.seek(player.seconds + 5 * direction); return; }
      const index = listening.lastUpTo(this.measureOnsets, player.place + 1e-3);
      const start = this.measureOnsets[Math.max(index, 0)];
      // Back from within a measure leads to its start first.
      const within = player.place - start > 0.5;
      const target = direction > 0 ? index + 1 : within ? index : index - 1;
      player.seekPlace(this.measureOnsets[Math.min(Math.max(target, 0), this.measureOnsets.length - 1)]);
    }

    failed(reason) {
      this.alert.textContent = reason;
      this.alert.hidden = false;
    }

    close() {
      this.player.close();
      this.score?.close();
      this.resized.disconnect();
      this.dark.removeEventListener("change", this.redraw);
    }
  }

  // Keys work everywhere but where they mean something else: in fields, and the space bar on a button.
  function keys(actions) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const { target } = event;
      if (target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select") && event.key !== "?") return;
      if (event.key === " " && target.matches("button, summary, input[type=checkbox], a")) return;
      const action = actions(event.key);
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  function showKeys(list) {
    listening.dialog("Keys", element("dl", { class: "keys" },
      ...list.flatMap(([key, meaning]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, meaning)])));
  }

  Object.assign(listening, { Bar, Stage, keys, showKeys });
})();
