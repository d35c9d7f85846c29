"use strict";
// What the other scripts build on: elements, texts, data files. Nothing here or elsewhere turns text into
// markup: every text becomes a text node, and SVG is parsed as SVG.

const listening = {};

(() => {
  // A new element. `attributes`: strings and booleans are set as attributes, functions listen to events.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }

  // Data comes as scripts that call `listening.data`: a page opened from disk may not fetch files.
  const waiting = new Map();
  const loading = new Map();

  function load(name) {
    if (!loading.has(name)) {
      loading.set(name, new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = element("script", { src: `data/${name}.js` });
        script.addEventListener("error", () => {
          loading.delete(name);
          reject(new Error(`data/${name}.js is missing from the folder`));
        });
        document.head.append(script);
      }));
    }
    return loading.get(name);
  }

  function data(name, value) {
    if (name === "page") listening.start(value);
    else waiting.get(name)(value);
  }

  function start(page) {
    document.title = page.title;
    const root = document.getElementById("page");
    (page.blind ? listening.showBlindTest : listening.showComparison)(root, page);
  }

  function say(text) {
    const spoken = document.getElementById("spoken");
    if (spoken.textContent !== text) spoken.textContent = text;
  }

  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  }

  // The number of colours in page.css; columns beyond them repeat the colours with dashed lines.
  const COLOURS = 8;
  const colour = (index) => `--column-${(index % COLOURS) + 1}`;

  function dialog(heading, ...content) {
    const close = element("button", { type: "button", class: "plain", click: () => box.close() }, "Close");
    const box = element("dialog", { "aria-label": heading },
      element("div", { class: "dialog-head" }, element("h2", {}, heading), close), ...content);
    box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
    return box;
  }

  Object.assign(listening, { element, load, data, start, say, clock, colour, COLOURS, dialog });
})();
