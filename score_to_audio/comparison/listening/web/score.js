"use strict";
// The engraved score: pages that are loaded when they come into view, a cursor, the notes that sound.

(() => {
  const NARROW = 620; // pixels; below, the layout for phones is shown
  const HANDS_OFF = 4000; // milliseconds without following after the reader has scrolled

  class ScoreView {
    // `chosen` is called with a place (quarter notes) where the reader clicks.
    constructor(row, chosen, placeNow) {
      this.row = row;
      this.chosen = chosen;
      this.placeNow = placeNow;
      this.lit = new Set();
      this.handsOff = 0;
      this.onsets = [...new Set(row.notes.q)].sort((a, b) => a - b);
      this.notesAt = new Map(this.onsets.map((onset) => [onset, []]));
      row.notes.q.forEach((onset, note) => this.notesAt.get(onset).push(note));
      this.passes = new Map();
      row.notes.id.forEach((id, note) => {
        if (!id) return;
        if (!this.passes.has(id)) this.passes.set(id, []);
        this.passes.get(id).push(note);
      });
      this.root = listening.element("div", {
        class: "score", tabindex: "0", role: "group",
        "aria-label": "Score. Click a note to play from there; comma and full stop step by measures.",
      });
      this.cursor = listening.element("div", { class: "cursor", hidden: true });
      for (const event of ["wheel", "touchmove", "pointerdown"]) {
        this.root.addEventListener(event, () => { this.handsOff = Date.now() + HANDS_OFF; }, { passive: true });
      }
      this.root.addEventListener("click", (event) => this.click(event));
      this.resized = new ResizeObserver(() => this.fit());
      this.resized.observe(this.root);
    }

    fit() {
      const layout = this.root.clientWidth < NARROW ? "narrow" : "wide";
      if (this.root.clientWidth > 0 && layout !== this.layout) this.lay(layout);
    }

    lay(layout) {
      this.layout = layout;
      this.anchors = new Map();
      this.lit.clear();
      this.observer?.disconnect();
      this.observer = new IntersectionObserver((entries) => {
        for (const entry of entries) if (entry.isIntersecting) this.need(Number(entry.target.dataset.page));
      }, { root: this.root, rootMargin: "60%" });
      this.pages = this.row.pages[layout].map((page, index) => {
        const sheet = listening.element("div", { class: "sheet", "data-page": index });
        sheet.style.aspectRatio = `${page.width} / ${page.height}`;
        this.observer.observe(sheet);
        return sheet;
      });
      this.loaded = new Set();
      this.root.replaceChildren(...this.pages);
      this.follow(this.placeNow(), []);
    }

    async need(index) {
      if (this.loaded.has(index)) return;
      this.loaded.add(index);
      const layout = this.layout;
      const text = await listening.load(this.row.pages[layout][index].data);
      if (layout !== this.layout) return;
      const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      if (parsed.localName !== "svg") return;
      const drawing = document.importNode(parsed, true);
      drawing.setAttribute("aria-hidden", "true");
      this.pages[index].append(drawing);
      this.measure(index, drawing);
      this.follow(this.placeNow(), this.sounding || []);
    }

    // Where on the page each onset is: shares of its width and height.
    measure(index, drawing) {
      const frame = drawing.getBoundingClientRect();
      const systems = new Map();
      for (const system of drawing.querySelectorAll("g.system")) {
        const box = system.getBoundingClientRect();
        systems.set(system, {
          top: (box.top - frame.top) / frame.height,
          height: box.height / frame.height,
          right: (box.right - frame.left) / frame.width,
        });
      }
      for (const group of drawing.querySelectorAll("g.note")) {
        const system = systems.get(group.closest("g.system"));
        const head = (group.querySelector("use, path, ellipse") || group).getBoundingClientRect();
        const x = (head.left + head.width / 2 - frame.left) / frame.width;
        for (const note of this.passes.get(group.id) || []) {
          if (this.row.notes.grace[note]) continue;
          const onset = this.row.notes.q[note];
          const known = this.anchors.get(onset);
          // Heads that are moved aside stand to the right: the leftmost is in its place.
          if (!known || x < known.x) this.anchors.set(onset, { page: index, x, system });
        }
      }
    }

    pageOf(onset) {
      for (const note of this.notesAt.get(onset)) {
        const page = this.row.notes.page[this.layout][note];
        if (page >= 0) return page;
      }
      return -1;
    }

    // Cursor to the place, light on the notes (indices) that sound.
    follow(place, sounding) {
      this.sounding = sounding;
      if (!this.layout) return;
      this.light(sounding);
      const before = Math.max(listening.lastUpTo(this.onsets, place + 1e-6), 0);
      const onset = this.onsets[before];
      const page = this.pageOf(onset);
      if (page >= 0) {
        this.need(page);
        if (page + 1 < this.pages.length) this.need(page + 1);
      }
      const here = this.anchors.get(onset);
      this.cursor.hidden = !here;
      if (!here) return;
      const next = this.onsets[before + 1];
      const there = this.anchors.get(next);
      const until = there && there.system === here.system && there.page === here.page && there.x > here.x
        ? there.x : Math.max(here.x, here.system.right);
      const end = next === undefined ? this.row.end : next;
      const share = end > onset ? Math.min(1, Math.max(0, (place - onset) / (end - onset))) : 0;
      const sheet = this.pages[here.page];
      if (this.cursor.parentNode !== sheet) sheet.append(this.cursor);
      this.cursor.style.left = `${100 * (here.x + share * (until - here.x))}%`;
      this.cursor.style.top = `${100 * here.system.top}%`;
      this.cursor.style.height = `${100 * here.system.height}%`;
      this.scrollTo(sheet, here.system);
    }

    light(sounding) {
      const wanted = new Set();
      for (const note of sounding) {
        const drawn = this.row.notes.id[note];
        if (drawn) wanted.add(drawn);
      }
      for (const id of this.lit) if (!wanted.has(id)) this.group(id)?.classList.remove("on");
      for (const id of wanted) this.group(id)?.classList.add("on");
      this.lit = wanted;
    }

    group(id) { return this.root.querySelector(`g.note[id="${id}"]`); }

    scrollTo(sheet, system) {
      if (Date.now() < this.handsOff) return;
      const top = sheet.offsetTop + system.top * sheet.clientHeight;
      const bottom = top + system.height * sheet.clientHeight;
      const view = this.root;
      if (top >= view.scrollTop && bottom <= view.scrollTop + view.clientHeight) return;
      if (this.target === top && Date.now() < this.targetUntil) return;
      this.target = top;
      this.targetUntil = Date.now() + 700;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      view.scrollTo({ top: Math.max(0, top - 12), behavior: calm ? "auto" : "smooth" });
    }

    click(event) {
      const sheet = event.target.closest(".sheet");
      if (!sheet) return;
      const group = event.target.closest("g.note");
      const notes = group ? this.passes.get(group.id) : null;
      const onsets = notes ? notes.map((note) => this.row.notes.q[note]) : this.near(sheet, event);
      if (!onsets.length) return;
      this.handsOff = 0;
      // Of the times that a note is played, the one nearest to where we are.
      const now = this.placeNow();
      this.chosen(onsets.reduce((a, b) => (Math.abs(b - now) < Math.abs(a - now) ? b : a)));
    }

    // The onsets of the notes drawn nearest to a click.
    near(sheet, event) {
      const frame = sheet.getBoundingClientRect();
      const page = Number(sheet.dataset.page);
      const x = (event.clientX - frame.left) / frame.width;
      const y = (event.clientY - frame.top) / frame.height;
      let best = Infinity;
      let found = [];
      for (const [onset, anchor] of this.anchors) {
        if (anchor.page !== page) continue;
        const middle = anchor.system.top + anchor.system.height / 2;
        const apart = Math.max(0, Math.abs(y - middle) - anchor.system.height / 2);
        const distance = Math.round(1e6 * (Math.abs(x - anchor.x) + 4 * apart));
        if (distance < best) { best = distance; found = []; }
        if (distance === best) found.push(onset);
      }
      return found;
    }

    close() {
      this.observer?.disconnect();
      this.resized.disconnect();
    }
  }

  Object.assign(listening, { ScoreView });
})();
