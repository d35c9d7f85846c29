"use strict";
// The blind test: trials in an order of the listener's own, answers kept in the browser, saved as a file.

(() => {
  const { element } = listening;
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const SCALE = ["Bad", "Poor", "Fair", "Good", "Excellent"];

  // Random numbers in [0, 1) that depend on the text alone (xmur3 and mulberry32, both public domain).
  function randomFrom(text) {
    let state = 1779033703 ^ text.length;
    for (let i = 0; i < text.length; i += 1) {
      state = Math.imul(state ^ text.charCodeAt(i), 3432918353);
      state = (state << 13) | (state >>> 19);
    }
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function shuffled(values, random) {
    const result = [...values];
    for (let i = result.length - 1; i > 0; i -= 1) {
      const j = Math.floor(random() * (i + 1));
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }

  // The listener's number and answers, in the browser where it keeps them.
  function memory(test) {
    const key = `score-to-audio votes ${test}`;
    let state = null;
    try { state = JSON.parse(localStorage.getItem(key)); } catch { state = null; }
    if (!state || typeof state.listener !== "string" || typeof state.votes !== "object") {
      const number = crypto.getRandomValues(new Uint32Array(2));
      state = { listener: [...number].map((part) => part.toString(16).padStart(8, "0")).join(""), votes: {} };
    }
    state.save = () => {
      try {
        localStorage.setItem(key, JSON.stringify({ listener: state.listener, votes: state.votes }));
      } catch { /* The answers stay until the page is closed; they can still be saved as a file. */ }
    };
    state.save();
    return state;
  }

  function showBlindTest(root, page) {
    const { test, kind, trials, listen } = page.blind;
    const state = memory(test);
    const random = randomFrom(`${test} ${state.listener}`);
    const order = shuffled(trials, random)
      .map((trial) => ({ ...trial, stimuli: shuffled(trial.stimuli, random) }));
    const bar = new listening.Bar();
    bar.matchedLabel.hidden = true;
    let stage = null;
    let position = order.findIndex((trial) => !(trial.id in state.votes));
    if (position < 0) position = order.length;

    const box = element("main", { class: "trial" });
    const progress = element("progress", { max: order.length, value: 0, "aria-label": "Answered trials" });
    const progressText = element("span", {});
    const back = element("button", { type: "button", click: () => go(position - 1) }, "Back");
    const save = element("button", { type: "button", click: () => saveFile() }, "Save my answers");
    root.replaceChildren(
      element("header", { class: "page-head" }, element("h1", {}, page.title),
        element("p", { class: "lead" }, kind === "pairs"
          ? "You hear the same piece twice. Switch between A and B as often as you like: the music continues at the same place. Then say which you prefer."
          : "You hear the same piece several times. Switch as often as you like: the music continues at the same place. Rate each from 0 (bad) to 100 (excellent)."),
        element("div", { class: "progress" }, back, progress, progressText, save)),
      box, bar.root);

    const answered = () => order.filter((trial) => trial.id in state.votes).length;

    function go(next) {
      position = Math.min(Math.max(next, 0), order.length);
      stage?.close();
      stage = null;
      progress.value = answered();
      progressText.textContent = `${answered()} of ${order.length} answered`;
      back.disabled = position === 0;
      bar.root.hidden = position >= order.length;
      if (position >= order.length) finish();
      else show(order[position], position);
    }

    async function show(trial, shownPosition) {
      const names = trial.stimuli.map((_, index) => LETTERS[index]);
      box.replaceChildren(element("p", {}, "Loading."));
      let data;
      try {
        data = await listening.load(trial.data);
      } catch (error) {
        box.replaceChildren(element("p", { class: "alert", role: "alert" }, `${error.message}.`));
        return;
      }
      if (position !== shownPosition) return;
      const cells = trial.stimuli.map((id) => page.blind.stimuli[id]);
      const times = trial.stimuli.map((id) => data.stimuli[id]);
      let firstSound = 0;
      const chips = names.map((name, index) => element("button", {
        type: "button", class: "chip", "aria-pressed": "false", click: () => choose(index),
      }, element("kbd", { "aria-hidden": "true" }, String(index + 1)), `Play ${name}`));
      stage = new listening.Stage({
        cells, row: { ...data, cells: times, name: trial.name }, bar, blind: true,
        nameOf: (index) => names[index],
        changed: (its) => {
          if (its.player.playing && !firstSound) firstSound = Date.now();
          chips.forEach((chip, index) => {
            chip.setAttribute("aria-pressed", String(index === its.player.current));
            chip.classList.toggle("heard", its.player.heard[index] > 0);
          });
          allow();
        },
      });
      const heard = () => cells.every(({ duration }, index) => stage.player.heard[index] > Math.min(listen, 0.9 * duration));
      const hint = element("p", { class: "hint", role: "status" });
      const vote = (answer) => {
        state.votes[trial.id] = {
          trial: trial.id, stimuli: trial.stimuli,
          seconds: firstSound ? (Date.now() - firstSound) / 1000 : 0, time: new Date().toISOString(), ...answer,
        };
        state.save();
        go(position + 1);
      };
      const form = kind === "pairs" ? pair(trial, vote) : ratings(trial, names, vote, state.votes[trial.id]);
      const allow = () => {
        const open = heard() || trial.id in state.votes;
        form.querySelectorAll("button").forEach((button) => { button.disabled = !open; });
        hint.textContent = open ? "" : `Listen to each of them first${listen ? `, for ${listen} seconds at least` : ""}.`;
      };
      box.replaceChildren(element("h2", {}, `Trial ${shownPosition + 1} of ${order.length}: ${trial.name}`),
        element("div", { class: "chips", role: "group", "aria-label": "What to hear" }, ...chips), form, hint, stage.root);
      bar.show(stage);
      stage.player.listened = allow;
      allow();
      stage.redraw();
    }

    function choose(index) {
      const { player } = stage;
      if (index === player.current && player.playing) { player.pause(); return; }
      player.select(index);
      if (!player.playing) player.play();
    }

    function pair(trial, vote) {
      const before = state.votes[trial.id];
      const option = (text, chosen) => element("button", {
        type: "button", class: "vote", "aria-pressed": String(Boolean(before) && before.chosen === chosen),
        click: () => vote({ chosen }),
      }, text);
      return element("div", { class: "votes", role: "group", "aria-label": "Which do you prefer?" },
        option("I prefer A", trial.stimuli[0]), option("No preference", null), option("I prefer B", trial.stimuli[1]));
    }

    function ratings(trial, names, vote, before) {
      const sliders = trial.stimuli.map((id, index) => {
        const value = before?.ratings?.[id] ?? 50;
        const output = element("output", {}, String(value));
        const slider = element("input", {
          type: "range", min: "0", max: "100", value, "data-stimulus": id, "aria-label": `Rating of ${names[index]}`,
          input: () => { output.textContent = slider.value; slider.setAttribute("aria-valuetext", words(slider.value)); },
        });
        slider.setAttribute("aria-valuetext", words(value));
        return { slider, line: element("label", { class: "rating" }, element("span", {}, names[index]), slider, output) };
      });
      return element("div", { class: "ratings" },
        element("div", { class: "scale", "aria-hidden": "true" }, ...SCALE.map((word) => element("span", {}, word))),
        ...sliders.map(({ line }) => line),
        element("button", {
          type: "button", class: "vote",
          click: () => vote({ ratings: Object.fromEntries(sliders.map(({ slider }, index) => [trial.stimuli[index], Number(slider.value)])) }),
        }, "Next"));
    }

    const words = (value) => `${value}, ${SCALE[Math.min(4, Math.floor(value / 20))].toLowerCase()}`;

    function finish() {
      box.replaceChildren(element("h2", { tabindex: "-1" }, "Thank you"),
        element("p", {}, "All trials are answered. Save your answers and send the file to whoever gave you this test."),
        element("button", { type: "button", class: "vote", click: () => saveFile() }, "Save my answers"));
      box.querySelector("h2").focus();
      listening.say("All trials are answered.");
    }

    function exported() {
      const votes = order.map((trial) => state.votes[trial.id]).filter(Boolean);
      return { format: "score-to-audio votes 1", test, kind, listener: state.listener, votes };
    }

    function saveFile() {
      const file = new Blob([`${JSON.stringify(exported(), null, 1)}\n`], { type: "application/json" });
      const address = URL.createObjectURL(file);
      element("a", { href: address, download: `votes-${test}-${state.listener}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
      listening.say("Your answers are saved.");
    }

    const KEYS = [
      ["Space", "play, pause"], ["1, 2, …", "A, B, …, at the same place in the score"],
      [", and .", "a measure back, a measure on"], ["Home", "from the start"], ["?", "this list"],
    ];
    bar.help.addEventListener("click", () => listening.showKeys(KEYS));
    listening.keys((key) => {
      if (key === "?") return () => listening.showKeys(KEYS);
      if (!stage) return null;
      if (/^[1-9]$/.test(key) && Number(key) <= stage.row.cells.length) return () => choose(Number(key) - 1);
      return {
        " ": () => stage.player.toggle(),
        ",": () => stage.step(-1),
        ".": () => stage.step(1),
        Home: () => stage.player.seek(0),
      }[key];
    });
    listening.exported = exported;
    listening.open = () => ({ stage });
    go(position);
  }

  Object.assign(listening, { showBlindTest });
})();
