"use strict";
// The comparison: sections of rows, one of which is open.

(() => {
  const { element } = listening;
  const KEYS = [
    ["Space", "play, pause"],
    ["1 – 9, 0", "column 1 to 10, at the same place in the score"],
    [", and .", "a measure back, a measure on"],
    ["Home", "from the start"],
    ["j and k", "next row, row before"],
    ["d", "details of the column that plays"],
    ["l", "equal loudness on or off"],
    ["?", "this list"],
  ];
  const ARROWS = { higher: " ↑", lower: " ↓", "": "" };

  function showComparison(root, page) {
    const bar = new listening.Bar();
    const rows = [];
    let open = null;

    const openRow = async (entry, scroll) => {
      if (open === entry) return;
      closeRow();
      open = entry;
      entry.toggle.setAttribute("aria-expanded", "true");
      entry.root.classList.add("open");
      entry.body.hidden = false;
      if (scroll) entry.root.scrollIntoView({ block: "start" });
      try {
        const data = await listening.load(entry.row.data);
        if (open === entry) fill(entry, data);
      } catch (error) {
        entry.body.replaceChildren(element("p", { class: "alert", role: "alert" }, `${error.message}.`));
      }
    };

    const closeRow = () => {
      if (!open) return;
      open.stage?.close();
      open.stage = null;
      open.body.replaceChildren();
      open.body.hidden = true;
      open.toggle.setAttribute("aria-expanded", "false");
      open.root.classList.remove("open");
      open = null;
      bar.root.hidden = true;
    };

    const fill = (entry, data) => {
      const { section, row } = entry;
      const stage = new listening.Stage({
        cells: row.cells, row: { ...data, name: row.name }, bar,
        nameOf: (index) => section.conditions[index].label,
        changed: () => mark(entry),
      });
      entry.stage = stage;
      entry.radios = [];
      const table = columns(page, entry, stage);
      bar.root.hidden = stage.player.current < 0;
      entry.body.replaceChildren(table);
      if (stage.player.current < 0) return;
      entry.body.append(stage.root, stage.curves.root);
      bar.show(stage);
      mark(entry);
      stage.redraw();
    };

    const choose = (entry, index) => {
      const cell = entry.row.cells[index];
      if (!cell) return;
      const { label } = entry.section.conditions[index];
      if (!cell.audio) { listening.say(`${label}: ${cell.failure}`); return; }
      entry.stage.player.select(index);
      listening.say(`${label}, measure ${entry.stage.measureAt(entry.stage.player.place) || "unknown"}`);
    };

    const mark = (entry) => {
      entry.radios.forEach((radio, index) => {
        const active = index === entry.stage?.player.current;
        radio.checked = active;
        radio.closest("tr").classList.toggle("active", active);
      });
    };

    function columns(shown, entry, stage) {
      const { section, row } = entry;
      const used = shown.measures.filter((measure) => row.cells.some((cell) => measure.key in cell.measures));
      const head = element("tr", {}, element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Column")),
        ...used.map((measure) => heading(measure, used)),
        element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Details")));
      const lines = section.conditions.map((condition, index) => {
        const cell = row.cells[index];
        const radio = element("input", {
          type: "radio", name: `column-${entry.number}`, value: index, disabled: !cell.audio,
          change: () => choose(entry, index),
        });
        entry.radios.push(radio);
        const swatch = element("span", { class: index >= listening.COLOURS ? "swatch dashed" : "swatch" });
        swatch.style.setProperty("--own", `var(${listening.colour(index)})`);
        const name = element("label", { title: condition.description }, radio,
          element("kbd", { "aria-hidden": "true" }, index < 10 ? String((index + 1) % 10) : ""), swatch,
          element("span", { class: "label" }, condition.label),
          cell.audio ? null : element("span", { class: "failure" }, cell.failure));
        return element("tr", { class: cell.audio ? "" : "failed" }, element("th", { scope: "row" }, name),
          ...used.map((measure) => element("td", { class: shownClass(measure, used) },
            ...marked(number(cell.measures[measure.key], measure.digits), standingIn(row.cells, index, measure)))),
          element("td", { class: "details" }, element("button", {
            type: "button", class: "plain", "aria-label": `Details of ${condition.label}`, title: "Provenance and licences (d)",
            click: () => details(entry, index),
          }, "i")));
      });
      return element("div", { class: "columns-side" }, element("div", { class: "table-scroll", tabindex: "-1" },
        element("table", { class: "columns" },
          element("caption", { class: "visually-hidden" }, `Columns of ${row.name} and their measures`),
          element("thead", {}, head), element("tbody", {}, ...lines))),
        moreButton(used),
        used.some((measure) => measure.description) ? element("details", { class: "meanings" },
          element("summary", {}, "What the numbers mean"),
          element("dl", {}, ...used.flatMap((measure) => [element("dt", {}, measure.label), element("dd", {}, measure.description)]))) : null);
    }

    function details(entry, index) {
      const condition = entry.section.conditions[index];
      const cell = entry.stage.row.cells[index];
      const box = listening.dialog(condition.label,
        element("p", {}, condition.description),
        cell.failure ? element("p", { class: "failure" }, cell.failure) : null,
        ...(cell.provenance || []).map((stage) => provenance(stage)),
        (cell.licences || []).length ? element("h3", {}, "Licences") : null,
        element("dl", { class: "facts" }, ...(cell.licences || []).flatMap(([what, licence]) => [element("dt", {}, what), element("dd", {}, licence)])),
        cell.audio ? element("p", {}, element("a", { href: cell.audio, download: true }, "Save this recording")) : null);
      box.classList.add("wide");
    }

    const header = element("header", { class: "page-head" }, element("h1", {}, page.title),
      page.description ? element("p", { class: "lead" }, page.description) : null);
    const main = element("main", {});
    for (const section of page.sections) {
      const part = element("section", {}, element("h2", {}, section.title),
        section.description ? element("p", {}, section.description) : null,
        section.verdict ? element("p", { class: "verdict" }, section.verdict) : null, summary(page, section));
      for (const row of section.rows) {
        const entry = { section, row, number: rows.length };
        rows.push(entry);
        entry.body = element("div", { class: "row-body", id: `row-${entry.number}`, hidden: true });
        entry.toggle = element("button", {
          type: "button", class: "row-toggle", "aria-expanded": "false", "aria-controls": `row-${entry.number}`,
          click: () => (open === entry ? closeRow() : openRow(entry)),
        }, element("span", { class: "row-name" }, row.name), element("span", { class: "row-note" }, row.note), count(row));
        entry.root = element("article", { class: "row" }, element("h3", {}, entry.toggle), entry.body);
        part.append(entry.root);
      }
      main.append(part);
    }
    bar.help.addEventListener("click", () => listening.showKeys(KEYS));
    bar.root.hidden = true;
    root.replaceChildren(header, main, bar.root);
    if (rows.length) openRow(rows[0]);

    const beside = (direction) => {
      const next = rows[(open ? open.number : -1) + direction];
      if (next) { openRow(next, true); next.toggle.focus({ preventScroll: true }); }
    };
    listening.keys((key) => {
      if (key === "?") return () => listening.showKeys(KEYS);
      if (key === "j") return () => beside(1);
      if (key === "k") return () => beside(-1);
      const stage = open?.stage;
      if (!stage || stage.player.current < 0) return null;
      if (/^[0-9]$/.test(key)) return () => choose(open, (Number(key) + 9) % 10);
      return {
        " ": () => stage.player.toggle(),
        ",": () => stage.step(-1),
        ".": () => stage.step(1),
        Home: () => stage.player.seek(0),
        d: () => details(open, stage.player.current),
        l: () => { bar.matched.checked = !bar.matched.checked; bar.apply(); listening.say(bar.matched.checked ? "equal loudness" : "loudness as it is"); },
      }[key];
    });
    // For tests and the curious: what is open.
    listening.open = () => open;
  }

  const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

  function count(row) {
    const failed = row.cells.filter((cell) => !cell.audio).length;
    const columns = `${row.cells.length} ${row.cells.length === 1 ? "column" : "columns"}`;
    return element("span", { class: "row-count" }, columns, failed ? element("span", { class: "failure" }, `, ${failed} failed`) : null);
  }

  // Measures that a verdict rests on are always shown; the others on request. Where there are none, all are.
  const isMain = (measure, used) => Boolean(measure.claim) || !used.some((one) => one.claim);
  const shownClass = (measure, used) => (isMain(measure, used) ? "number" : "number more");

  function heading(measure, used) {
    return element("th", { scope: "col", class: shownClass(measure, used), title: measure.description },
      `${measure.label}${ARROWS[measure.better]}`, measure.unit ? element("span", { class: "unit" }, ` ${measure.unit}`) : null);
  }

  // Best, or a tie, among the columns of one row: by the numbers as they are shown.
  function standingIn(cells, index, measure) {
    const values = cells.map((cell) => cell.measures[measure.key]).map((value) => (value === undefined ? NaN : Number(value.toFixed(measure.digits))));
    const known = values.filter((value) => !Number.isNaN(value));
    if (!measure.better || known.length < 2) return "";
    const best = measure.better === "higher" ? Math.max(...known) : Math.min(...known);
    const level = known.filter((value) => value === best).length;
    if (values[index] !== best || level === known.length) return "";
    return level > 1 ? "tie" : "best";
  }

  function marked(text, standing) {
    if (!standing) return [text];
    const meaning = standing === "best" ? "best" : "tied with the best";
    return [element("span", { class: `standing-${standing}` }, text),
      element("span", { class: "standing", title: meaning, "aria-hidden": "true" }, standing === "best" ? "★" : "="),
      element("span", { class: "visually-hidden" }, ` ${meaning}`)];
  }

  function moreButton(used) {
    if (used.every((measure) => isMain(measure, used))) return null;
    const button = element("button", {
      type: "button", class: "plain", "aria-pressed": "false",
      click: () => {
        const all = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(all));
        button.textContent = all ? "Fewer measures" : "All measures";
        button.parentNode.parentNode.querySelector("table").classList.toggle("all", all);
      },
    }, "All measures");
    return element("p", { class: "table-options" }, button);
  }

  function summary(page, section) {
    const used = page.measures.filter((measure) => section.summaries.some((one) => one.measure === measure.key));
    if (!used.length || section.rows.length < 2) return null;
    const cellOf = (condition, measure) => {
      const one = section.summaries.find((it) => it.condition === condition.key && it.measure === measure.key);
      if (!one) return element("td", { class: shownClass(measure, used) }, "–");
      const interval = one.low === null || one.high === null ? null
        : element("span", { class: "interval" }, ` [${number(one.low, measure.digits)}, ${number(one.high, measure.digits)}]`);
      return element("td", { class: shownClass(measure, used), title: `over ${one.count} rows` },
        ...marked(number(one.mean, measure.digits), one.standing), interval);
    };
    const few = section.summaries.every((one) => one.low === null);
    return element("details", { class: "summary", open: used.some((measure) => measure.claim) },
      element("summary", {}, few ? "All rows together: mean" : "All rows together: mean and 95 % confidence interval"),
      element("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Summary" }, element("table", {},
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Column"),
          ...used.map((measure) => heading(measure, used)))),
        element("tbody", {}, ...section.conditions.map((condition) => element("tr", {},
          element("th", { scope: "row" }, condition.label), ...used.map((measure) => cellOf(condition, measure))))))),
      moreButton(used));
  }

  // A stage's record: what it was, then every fact; objects within it as lines of their own.
  function provenance(stage) {
    const { stage: name, ...facts } = stage;
    return element("div", {}, name ? element("h3", {}, String(name)) : null,
      element("dl", { class: "facts" }, ...entries(facts)));
  }

  // Options that are not set say nothing.
  const says = (value) => value !== null && value !== "" && !(typeof value === "object" && !Object.values(value).some(says));

  const entries = (facts) => Object.entries(facts).filter(([, value]) => says(value))
    .flatMap(([key, value]) => [element("dt", {}, key.replaceAll("_", " ")), element("dd", {}, fact(value))]);

  function fact(value) {
    if (typeof value !== "object") return String(value);
    if (Array.isArray(value)) return value.map(String).join(", ");
    return element("dl", { class: "facts" }, ...entries(value));
  }

  Object.assign(listening, { showComparison });
})();
