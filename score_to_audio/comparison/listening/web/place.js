"use strict";
// Seconds of a recording and places in the score, both ways.

(() => {
  // Index of the last of the sorted `values` that is <= `value`; -1 where there is none.
  function lastUpTo(values, value) {
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // The line through (xs, ys) at x; beyond its ends, the values there.
  function interpolate(xs, ys, x) {
    const before = lastUpTo(xs, x);
    if (before < 0) return ys[0];
    if (before >= xs.length - 1) return ys[ys.length - 1];
    const width = xs[before + 1] - xs[before];
    const share = width > 0 ? (x - xs[before]) / width : 0;
    return ys[before] + share * (ys[before + 1] - ys[before]);
  }

  // The places that a row covers: [first, last]. In quarter notes where a cell has a timeline, else seconds.
  function rangeOf(cells) {
    const timed = cells.filter((cell) => cell.timeline);
    if (!timed.length) return [0, Math.max(0, ...cells.map((cell) => cell.duration || 0))];
    return [
      Math.min(...timed.map((cell) => cell.timeline[0][0])),
      Math.max(...timed.map((cell) => cell.timeline[0][cell.timeline[0].length - 1])),
    ];
  }

  // A cell's two-way map. Without a timeline the place is the second where no cell of the row has one,
  // else the share of the length.
  function mapOf(cell, cells) {
    if (cell.timeline) {
      const [places, seconds] = cell.timeline;
      return {
        place: (time) => interpolate(seconds, places, time),
        seconds: (place) => interpolate(places, seconds, place),
      };
    }
    if (!cells.some((other) => other.timeline)) return { place: (time) => time, seconds: (place) => place };
    const [first, last] = rangeOf(cells);
    const length = cell.duration || 1;
    return {
      place: (time) => first + (last - first) * Math.min(1, time / length),
      seconds: (place) => length * Math.min(1, Math.max(0, (place - first) / Math.max(last - first, 1e-9))),
    };
  }

  Object.assign(listening, { lastUpTo, interpolate, rangeOf, mapOf });
})();
