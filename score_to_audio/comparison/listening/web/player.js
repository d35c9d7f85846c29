"use strict";
// Plays one cell of a row at a time; another cell goes on from the same place in the score.

(() => {
  class Player {
    // `cells`: those of the row, in the order of the columns. `changed` is called after every change of cell
    // or state, `failed` with a sentence where a file cannot be played.
    constructor(cells, changed, failed) {
      this.cells = cells;
      this.changed = changed;
      this.failed = failed;
      this.maps = cells.map((cell) => listening.mapOf(cell, cells));
      this.sounds = cells.map(() => null);
      this.current = cells.findIndex((cell) => cell.audio);
      this.matched = true;
      this.volume = 1;
      this.heard = cells.map(() => 0);  // seconds
      this.listened = () => {};
    }

    get cell() { return this.cells[this.current]; }
    get sound() { return this.soundOf(this.current); }
    get playing() { return this.current >= 0 && this.sounds[this.current] !== null && !this.sound.paused; }
    get seconds() { return this.sounds[this.current] ? this.sound.currentTime : 0; }
    get place() { return this.maps[this.current].place(this.seconds); }

    // Files are asked for when they are first needed.
    soundOf(index) {
      if (!this.sounds[index]) {
        const sound = new Audio();
        sound.preload = "auto";
        sound.src = this.cells[index].audio;
        for (const event of ["play", "pause", "ended", "seeked", "loadedmetadata"]) {
          sound.addEventListener(event, () => { if (index === this.current) this.changed(); });
        }
        let last = 0;
        sound.addEventListener("timeupdate", () => {
          const step = sound.currentTime - last;
          last = sound.currentTime;
          if (step > 0 && step < 1) this.heard[index] += step;  // more is a jump
          this.listened();
        });
        sound.addEventListener("error", () => this.failed(`${this.cells[index].audio} cannot be played.`));
        this.sounds[index] = sound;
      }
      return this.sounds[index];
    }

    async play() {
      this.setVolume();
      this.heard[this.current] ||= 1e-3;
      try {
        await this.sound.play();
      } catch (error) {
        // A pause or another cell came before the sound did.
        if (error.name !== "AbortError") this.failed(`The browser does not play: ${error.message}`);
      }
      // So that the other columns are there when they are switched to.
      this.cells.forEach((cell, index) => { if (cell.audio && this.playing) this.soundOf(index); });
    }

    pause() { if (this.sounds[this.current]) this.sound.pause(); }

    toggle() {
      if (this.playing) { this.pause(); return; }
      if (this.sound.ended) this.seek(0);
      this.play();
    }

    // The same place in the other cell, playing if it was playing.
    select(index) {
      if (index === this.current || !this.cells[index] || !this.cells[index].audio) return;
      const started = this.sounds[this.current] !== null && this.seconds > 0;
      const place = this.place;
      const playing = this.playing;
      this.pause();
      this.current = index;
      if (started) this.seekPlace(place);
      this.setVolume();
      if (playing) this.play();
      this.changed();
    }

    seek(seconds) {
      this.sound.currentTime = Math.min(Math.max(seconds, 0), Math.max(this.cell.duration - 0.05, 0));
      this.changed();
    }

    seekPlace(place) { this.seek(this.maps[this.current].seconds(place)); }

    setVolume() {
      const gain = this.matched ? 10 ** ((this.cell.gain || 0) / 20) : 1;
      this.sound.volume = Math.min(1, gain * this.volume);
    }

    close() {
      for (const sound of this.sounds) {
        if (!sound) continue;
        sound.pause();
        sound.removeAttribute("src");
      }
    }
  }

  Object.assign(listening, { Player });
})();
