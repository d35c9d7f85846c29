"use strict";
// The studio's page, built with parts.js of the listening page. Texts from scores and files only ever become text nodes.

(() => {
  const { element } = listening;
  const find = (selector) => document.querySelector(selector);
  const form = find("#settings");
  const FILE_NAMES = [".musicxml", ".xml", ".mxl", ".mei", ".mid", ".midi"];
  let choices = null;
  let state = { pieces: [], progress: null };
  let shownPage = "";

  function say(text, bad = false) {
    const line = find("#spoken");
    line.textContent = text;
    line.classList.toggle("bad", bad);
  }

  async function call(method, path, body, type) {
    let answer;
    try {
      answer = await fetch(path, { method, body, headers: type ? { "Content-Type": type } : {} });
    } catch {
      throw new Error("The studio does not answer; start `score-to-audio studio` again.");
    }
    const text = await answer.text();
    let value = null;
    try { value = JSON.parse(text); } catch { /* a plain sentence */ }
    if (!answer.ok) throw new Error(value?.error || text || `The studio refused this (${answer.status}).`);
    return value;
  }

  const attempt = async (work) => {
    try { await work(); } catch (error) { say(error.message, true); }
  };

  // ------------------------------------------------------------------------------------ the form

  const plugin = (kind) => choices[`${kind}s`].find((one) => one.name === form.elements[kind].value);

  function resolved(field, definitions) {
    const options = field.anyOf || field.allOf || [field];
    const known = options.find((one) => one.type !== "null") || {};
    const name = known.$ref?.split("/").pop();
    return { ...field, ...known, ...(name ? definitions[name] || {} : {}), default: field.default,
      description: field.description };
  }

  function control(name, field, definitions) {
    const { type, enum: values, default: standard, description, minimum, maximum, exclusiveMinimum } = resolved(field, definitions);
    const title = description || "";
    const words = name.replaceAll("_", " ");
    if (values) {
      return element("label", { title }, words, element("select", { "data-name": name, "data-default": JSON.stringify(standard) },
        ...values.map((value) => element("option", { value: JSON.stringify(value), selected: value === standard }, String(value)))));
    }
    if (type === "boolean") {
      return element("label", { title }, words, element("input", { type: "checkbox", "data-name": name, "data-default": JSON.stringify(standard), checked: standard }));
    }
    if (type === "number" || type === "integer") {
      return element("label", { title }, words, element("input", {
        type: "number", step: type === "integer" ? 1 : "any", min: minimum ?? exclusiveMinimum, max: maximum,
        "data-name": name, "data-default": JSON.stringify(standard), value: standard ?? "", placeholder: standard ?? "",
      }));
    }
    if (type === "string") {
      return element("label", { title }, words, element("input", { type: "text", "data-name": name, "data-default": JSON.stringify(standard), value: standard ?? "" }));
    }
    return null;
  }

  // Only what differs from the default is sent, so that equal settings stay equal.
  function changedIn(box) {
    const values = {};
    for (const input of box.querySelectorAll("[data-name]")) {
      const standard = input.dataset.default === "undefined" ? undefined : JSON.parse(input.dataset.default);
      let value = input.value;
      if (input.type === "checkbox") value = input.checked;
      else if (input.tagName === "SELECT") value = JSON.parse(value);
      else if (value === "") value = standard ?? null;
      else if (input.type === "number") value = Number(value);
      if (value !== standard && !(value === null && standard === undefined)) values[input.dataset.name] = value;
    }
    return values;
  }

  function settings() {
    const prompt = form.elements.prompt.value;
    return {
      renderer: form.elements.renderer.value,
      synthesizer: form.elements.synthesizer.value,
      ...(plugin("synthesizer").uses_prompt && prompt ? { prompt } : {}),
      ...changedIn(find("#common")),
      renderer_options: changedIn(find("#renderer-options")),
      synthesizer_options: changedIn(find("#synthesizer-options")),
    };
  }

  function showOptions(kind) {
    const { options, definitions, checkpoints } = plugin(kind);
    const box = find(`#${kind}-options`);
    const named = Object.entries(checkpoints || {}).map(([role, names]) => element("label", {}, role,
      element("select", { "data-name": role, "data-default": "null" },
        ...names.map((name) => element("option", { value: JSON.stringify(name) }, name)))));
    box.replaceChildren(...named, ...Object.entries(options).map(([name, field]) => control(name, field, definitions || {})).filter(Boolean));
    box.parentElement.hidden = !box.childElementCount;
    const about = ["renderer", "synthesizer"].map((one) => plugin(one)).map((one) => `${one.name}: ${one.summary}${one.licence ? ` (${one.licence})` : ""}`);
    find("#limits").textContent = about.join(" · ");
    find("#prompt").hidden = !(plugin("synthesizer").uses_prompt && choices.prompts.length);
  }

  function showChoices() {
    for (const kind of ["renderer", "synthesizer"]) {
      form.elements[kind].replaceChildren(...choices[`${kind}s`].map((one) =>
        element("option", { value: one.name, disabled: Boolean(one.missing), title: one.missing || one.summary,
          selected: one.name === choices.defaults[kind] }, one.missing ? `${one.name} (${one.missing})` : one.name)));
      form.elements[kind].addEventListener("change", () => showOptions(kind));
    }
    form.elements.prompt.replaceChildren(element("option", { value: "" }, "none"), ...choices.prompts.map((name) => element("option", { value: name }, name)));
    find("#common").replaceChildren(...Object.entries(choices.settings).map(([name, field]) => control(name, field, {})).filter(Boolean));
    showOptions("renderer");
    showOptions("synthesizer");
    find("#outputs").replaceChildren(...choices.outputs.map((folder, number) =>
      element("li", {}, element("a", { href: `/outputs/${number}/`, target: "_blank" }, `Results in ${folder}`))));
    find("#offered").hidden = !choices.scores;
  }

  // ------------------------------------------------------------------------------------ pieces

  const current = () => state.pieces.find((piece) => piece.id === location.hash.slice(1));
  const open = (id) => { location.hash = id; };

  async function upload(files) {
    for (const file of files) {
      say(`Reading ${file.name} …`);
      await attempt(async () => {
        if (!FILE_NAMES.some((suffix) => file.name.toLowerCase().endsWith(suffix))) {
          throw new Error(`${file.name}: not a score (${FILE_NAMES.join(" ")})`);
        }
        const { id } = await call("POST", `/api/pieces?name=${encodeURIComponent(file.name)}`, file, "application/octet-stream");
        await play(id);
        say(`${file.name} was added.`);
        open(id);
        find("#main").scrollIntoView({ block: "start" });
      });
    }
  }

  async function play(id) {
    await call("POST", `/api/pieces/${id}/interpretations`, JSON.stringify(settings()), "application/json");
  }

  function showPieces() {
    find("#pieces").replaceChildren(...state.pieces.map((piece) => element("li", {}, element("button", {
      type: "button", "aria-current": String(piece === current()), click: () => { open(piece.id); find("#main").scrollIntoView({ block: "start" }); },
    }, piece.title, element("small", {}, [piece.composer, piece.added.slice(0, 10)].filter(Boolean).join(", "))))));
  }

  function showPiece() {
    const piece = current();
    find("#welcome").hidden = Boolean(piece);
    find("#piece").hidden = !piece;
    find("#play").disabled = !piece;
    if (!piece) { find("#player").hidden = true; shownPage = ""; return; }
    find("#title").textContent = piece.title;
    find("#about").textContent = [piece.composer, piece.file_name].filter(Boolean).join(" · ");
    find("#notices").replaceChildren(...piece.notices.map((notice) => element("li", {}, notice)));
    find("#interpretations").replaceChildren(...piece.interpretations.map((one) => line(piece, one)));
    showPage(piece);
  }

  function line(piece, one) {
    const address = `/pieces/${piece.id}/interpretations/${one.id}`;
    const api = `/api${address}`;
    const working = state.progress?.interpretation === one.id ? state.progress : null;
    const button = (text, method, path) => element("button", {
      type: "button", class: "plain", "aria-label": `${text}: ${one.label}`, click: () => attempt(() => call(method, path)),
    }, text);
    const again = () => call("POST", `/api/pieces/${piece.id}/interpretations`, JSON.stringify({ ...one.settings, format: undefined, device: undefined }), "application/json");
    const parts = [element("span", { class: "name" }, one.label)];
    if (one.state === "waiting") parts.push(element("span", { class: "faint" }, "waiting"));
    if (one.state === "working" || working) {
      parts.push(element("progress", working?.total ? { value: working.done, max: working.total, "aria-label": "Progress" } : { "aria-label": "Progress" }),
        element("span", { class: "faint" }, working?.unit || ""));
    }
    if (one.state === "waiting" || one.state === "working") parts.push(button("Cancel", "POST", `${api}/cancel`));
    else {
      if (one.state === "done") parts.push(...choices.formats.map((format) => element("a", { href: `${address}.${format}`, download: true }, format.toUpperCase())));
      else parts.push(element("button", { type: "button", class: "plain", click: () => attempt(again) }, "Play again"));
      parts.push(button("Remove", "DELETE", api));
    }
    if (one.error) parts.push(element("span", { class: one.state === "failed" ? "why bad" : "why faint" }, one.error));
    return element("li", { class: one.state, "data-state": one.state }, ...parts);
  }

  // A page that plays is not replaced under the listener.
  function showPage(piece) {
    find("#player").hidden = !piece.page;
    if (!piece.page) return;
    const wanted = `/pieces/${piece.id}/page/index.html?${piece.page}`;
    if (wanted === shownPage) return;
    const frame = find("#page");
    const isPlaying = shownPage.startsWith(`/pieces/${piece.id}/`) && playing(frame);
    find("#newer").hidden = !isPlaying;
    if (!isPlaying) load(wanted);
  }

  const playing = (frame) => frame.contentDocument?.querySelector(".bar .play")?.getAttribute("aria-label") === "Pause";

  // The studio shows the titles itself.
  function hideTitles() {
    for (const one of find("#page").contentDocument.querySelectorAll(".page-head, main h2, .row > h3")) one.hidden = true;
  }

  function load(address) {
    shownPage = address;
    find("#newer").hidden = true;
    find("#page").src = address;
  }

  // ------------------------------------------------------------------------------------ start

  function show() { showPieces(); showPiece(); }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const piece = current();
    if (piece) attempt(() => play(piece.id));
  });
  find("#newer button").addEventListener("click", () => {
    const piece = current();
    load(`/pieces/${piece.id}/page/index.html?${piece.page}`);
  });
  find("#page").addEventListener("load", hideTitles);
  find("#forget").addEventListener("click", () => attempt(async () => {
    const piece = current();
    if (!confirm(`Remove ${piece.title} and its interpretations?`)) return;
    await call("DELETE", `/api/pieces/${piece.id}`);
    open("");
  }));
  find("#file").addEventListener("change", (event) => { upload([...event.target.files]); event.target.value = ""; });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("#drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") upload([...event.dataTransfer.files]);
    });
  }
  find("#offered").addEventListener("toggle", () => attempt(async () => {
    if (!find("#offered").open) return;
    const names = await call("GET", "/api/scores");
    find("#offered ul").replaceChildren(...names.map((name, number) => element("li", {}, element("button", {
      type: "button", click: () => attempt(async () => {
        const { id } = await call("POST", `/api/scores/${number}`);
        await play(id);
        open(id);
      }),
    }, name))));
  }));
  window.addEventListener("hashchange", show);

  attempt(async () => {
    choices = await call("GET", "/api/choices");
    showChoices();
    const events = new EventSource("/api/events");
    events.addEventListener("message", (event) => { state = JSON.parse(event.data); show(); });
    events.addEventListener("error", () => say("The studio does not answer; it may have been stopped.", true));
    events.addEventListener("open", () => say(""));
  });
})();
