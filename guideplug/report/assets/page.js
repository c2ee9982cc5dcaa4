// What moves in a report: theme, tables that sort, curves that are chosen and switched on and off, the slider.
// Data come from the page's JSON alone; texts are set as texts, never as markup.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const dataOf = (element) => JSON.parse(element.querySelector('script[type="application/json"]').textContent);
  const ink = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const redraws = [];
  const redraw = () => redraws.forEach((draw) => draw());

  // Theme

  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);
  const label = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("guideplug-theme", root.dataset.theme); } catch (refused) { /* for this page alone */ }
    label();
    redraw();
  });
  wantsDark.addEventListener("change", () => { label(); redraw(); });
  label();

  // Tables: a heading's button sorts by its column, best or largest first where it holds numbers

  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    const first = [...body.rows];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("number");
        const was = head.getAttribute("aria-sort");
        const order = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
        const now = order[(order.indexOf(was === "none" ? "none" : was) + 1) % 3];
        heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", now);
        const sign = now === "ascending" ? 1 : -1;
        const key = (row) => {
          const cell = row.cells[column];
          return cell.dataset.key === undefined ? (numeric ? null : cell.textContent.trim()) : Number(cell.dataset.key);
        };
        const compare = (one, other) => {
          const [a, b] = [key(one), key(other)];
          if (a === null || b === null) return (a === null) - (b === null);
          if (typeof a === "number" && typeof b === "number") return sign * (a - b);
          return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
        };
        body.append(...(now === "none" ? first : [...first].sort(compare)));
      });
    });
  }

  const tabs = document.querySelector(".tabs");
  if (tabs) {
    const show = () => {
      const chosen = tabs.querySelector("input:checked").value;
      all("[data-group]").forEach((group) => { group.hidden = group.dataset.group !== chosen; });
    };
    tabs.hidden = false;
    tabs.addEventListener("change", show);
    show();
  }

  // Curves

  const DASHES = ["solid", "dashed", "dotted", [9, 3, 2, 3]];
  const off = new Set(); // arms that are switched off, in every chart and table
  const order = new Map(); // each arm's number, which decides its colour and dashes everywhere
  const style = (name) => {
    if (!order.has(name)) order.set(name, order.size);
    const number = order.get(name);
    return { color: ink(`--c${number % 8}`), dash: DASHES[Math.floor(number / 8 + (number % 8) / 2) % DASHES.length] };
  };
  const short = (value) => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
    return String(Number(value.toPrecision(4)));
  };

  function swatch(name) {
    const { color, dash } = style(name);
    const pattern = { solid: "", dashed: "6 4", dotted: "2 3" }[dash] ?? "9 3 2 3";
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 26 10");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", "M1 5H25");
    line.setAttribute("stroke", color);
    line.setAttribute("stroke-width", "2.5");
    line.setAttribute("stroke-dasharray", pattern);
    svg.append(line);
    return svg;
  }

  function said(plot, shown) {
    const parts = shown.map((series) => {
      const first = series.points[0], last = series.points[series.points.length - 1];
      return `${series.name}: ${short(first[1])} at ${short(first[0])}, ${short(last[1])} at ${short(last[0])}`;
    });
    return `${plot.y} against ${plot.x}. ${parts.join("; ")}.`;
  }

  function options(plot, shown) {
    // A logarithmic axis is a plain one of logarithms, on which bands can be stacked too.
    const lift = plot.log ? (y) => Math.log10(Math.max(y, 1e-30)) : (y) => y;
    const text = { color: ink("--soft"), fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12 };
    const axis = {
      type: "value", scale: true, nameTextStyle: text, splitNumber: 5,
      axisLine: { show: false }, axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true, formatter: short },
      splitLine: { lineStyle: { color: ink("--line") } },
    };
    const low = (y, s) => lift(plot.log ? Math.max(y - s, y / 10) : y - s);
    const series = [];
    for (const one of shown) {
      const { color, dash } = style(one.name);
      const few = one.points.length <= 24;
      if (one.points.some((point) => point[2] !== null)) {
        const edge = { type: "line", stack: `band ${one.name}`, stackStrategy: "all", symbol: "none", silent: true,
          lineStyle: { opacity: 0 }, emphasis: { disabled: true }, tooltip: { show: false } };
        series.push({ ...edge, name: "", data: one.points.map(([x, y, s]) => [x, low(y, s ?? 0)]) });
        series.push({ ...edge, name: "", data: one.points.map(([x, y, s]) => [x, lift(y + (s ?? 0)) - low(y, s ?? 0)]),
          areaStyle: { color, opacity: 0.14 } });
      }
      series.push({ type: "line", name: one.name, data: one.points.map(([x, y, s]) => ({ value: [x, lift(y), s, y] })),
        symbol: "circle", symbolSize: 5, showSymbol: few, lineStyle: { color, width: 2, type: dash },
        itemStyle: { color }, emphasis: { disabled: true } });
    }
    return {
      animation: !calm.matches, animationDuration: 250, animationDurationUpdate: 250, textStyle: text,
      grid: { left: 52, right: 18, top: 34, bottom: 46 },
      xAxis: { ...axis, name: plot.x, nameLocation: "middle", nameGap: 28, min: "dataMin", max: "dataMax", splitLine: { show: false },
        axisLine: { show: true, onZero: false, lineStyle: { color: ink("--soft") } } },
      yAxis: { ...axis, name: plot.y,
        axisLabel: { ...axis.axisLabel, formatter: plot.log ? (y) => short(Number((10 ** y).toPrecision(2))) : short }, nameLocation: "end",
        nameGap: 14, nameTextStyle: { ...text, align: "left", padding: [0, 0, 0, -46] } },
      tooltip: {
        trigger: "axis", renderMode: "richText", confine: true, backgroundColor: ink("--card"),
        borderColor: ink("--line"), textStyle: { ...text, color: ink("--ink") }, axisPointer: { lineStyle: { color: ink("--soft") } },
        formatter: (items) => {
          const named = items.filter((item) => item.seriesName && item.value.length > 2);
          if (!named.length) return "";
          const lines = named.map((item) => {
            const [, , s, y] = item.value;
            return `${item.seriesName.slice(0, 60).replace(/[{}|]/g, " ")}  ${short(y)}${s === null ? "" : ` ± ${short(s)}`}`;
          });
          return [`${plot.x} ${short(named[0].value[0])}`, ...lines].join("\n");
        },
      },
      series,
    };
  }

  const rows = () => all("tr[data-arm]").forEach((row) => {
    row.hidden = off.has(row.dataset.arm);
    const mark = row.querySelector(".swatch");
    if (mark && order.has(row.dataset.arm)) mark.style.background = style(row.dataset.arm).color;
  });

  for (const figure of all("figure.chart")) {
    const chart = dataOf(figure);
    const place = figure.querySelector(".plot");
    const legend = figure.querySelector(".legend");
    const choices = all("select[data-choice]", figure);
    const keys = Object.keys(chart.plots);
    keys.forEach((key) => chart.plots[key].series.forEach((series) => style(series.name)));
    const drawn = echarts.init(place, null, { renderer: "svg" });
    const draw = () => {
      const plot = chart.plots[choices.length ? choices.map((select) => select.value).join("|") : keys[0]];
      const names = plot ? plot.series.map((series) => series.name) : [];
      const shown = plot ? plot.series.filter((series) => !off.has(series.name) && series.points.length) : [];
      drawn.setOption(plot ? options(plot, shown) : { series: [] }, { notMerge: true });
      figure.querySelector(".unseen[id]").textContent = plot ? said(plot, shown) : "Nothing was measured here.";
      const known = all("input", legend).map((input) => input.value);
      if (known.join("\n") !== names.join("\n") || figure.dataset.dark !== String(isDark())) {
        all("label", legend).forEach((old) => old.remove());
        for (const name of names) {
          const entry = document.createElement("label");
          const box = document.createElement("input");
          box.type = "checkbox";
          box.value = name;
          box.checked = !off.has(name);
          entry.append(box, swatch(name), document.createTextNode(name));
          legend.append(entry);
        }
        figure.dataset.dark = String(isDark());
      }
      all("input", legend).forEach((box) => { box.checked = !off.has(box.value); });
      legend.hidden = names.length < 2;
    };
    choices.forEach((select) => select.addEventListener("change", draw));
    legend.addEventListener("change", (event) => {
      if (event.target.checked) off.delete(event.target.value); else off.add(event.target.value);
      redraw();
    });
    redraws.push(draw, rows);
    draw();
    new ResizeObserver(() => drawn.resize()).observe(place);
  }
  rows();

  // The slider: numbers of 8 or 16 bits, one set of samples for each weight

  const holder = document.getElementById("slider-data");
  if (holder) slide(JSON.parse(holder.textContent));

  function slide(data) {
    const canvas = document.getElementById("stage");
    const range = document.getElementById("value");
    const withTruth = document.getElementById("with-truth");
    const withPaths = document.getElementById("with-paths");
    const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
    const points = data.kind === "points";
    const Numbers = points ? Int16Array : Uint8Array;
    const samples = new Numbers(bytes(data.samples));
    const truth = new Numbers(bytes(data.truth));
    const each = samples.length / data.weights.length;
    const at = (index) => samples.subarray(index * each, (index + 1) * each);
    let position = data.own; // between two weights only while it moves
    let moving = 0;

    function paintPoints(context, size) {
      const [middleX, middleY, half] = data.view;
      const scale = size / 2 / half;
      const x = (value) => size / 2 + ((value / 32767) * data.half + data.middle[0] - middleX) * scale;
      const y = (value) => size / 2 - ((value / 32767) * data.half + data.middle[1] - middleY) * scale;
      const low = at(Math.floor(position)), high = at(Math.ceil(position)), share = position - Math.floor(position);
      const radius = Math.max(1.6, size / 240);
      const dots = (values, color, r) => {
        context.fillStyle = color;
        for (let i = 0; i < values.length; i += 2) {
          context.beginPath();
          context.arc(x(values[i]), y(values[i + 1]), r, 0, 7);
          context.fill();
        }
      };
      if (withTruth.checked) dots(truth, ink("--truth"), radius);
      const now = Float32Array.from(low, (value, i) => value + share * (high[i] - value));
      if (withPaths.checked) {
        const from = at(0);
        context.strokeStyle = ink("--path");
        context.lineWidth = Math.max(1, size / 620);
        context.beginPath();
        for (let i = 0; i < now.length; i += 2) {
          context.moveTo(x(from[i]), y(from[i + 1]));
          context.lineTo(x(now[i]), y(now[i + 1]));
        }
        context.stroke();
      }
      context.globalAlpha = 0.85;
      dots(now, ink("--dot"), radius);
      context.globalAlpha = 1;
    }

    function paintImages(context, size) {
      const { width, height, channels } = data;
      const values = withTruth.checked ? truth : at(Math.round(position));
      const count = values.length / (width * height * channels);
      const columns = Math.ceil(Math.sqrt(count)), lines = Math.ceil(count / columns);
      const gap = Math.max(2, Math.round(size / columns / 24));
      const side = (size - gap * (columns + 1)) / columns;
      const one = document.createElement("canvas");
      one.width = width;
      one.height = height;
      const pen = one.getContext("2d");
      context.imageSmoothingEnabled = false;
      for (let n = 0; n < count; n++) {
        const picture = pen.createImageData(width, height);
        for (let p = 0; p < width * height; p++) {
          const start = (n * width * height + p) * channels;
          for (let c = 0; c < 3; c++) picture.data[4 * p + c] = values[start + (channels === 1 ? 0 : c)];
          picture.data[4 * p + 3] = 255;
        }
        pen.putImageData(picture, 0, 0);
        const column = n % columns, line = Math.floor(n / columns);
        context.drawImage(one, gap + column * (side + gap), gap + line * (side + gap) * (height / width), side, side * (height / width));
      }
      return lines;
    }

    function paint() {
      const wide = canvas.parentElement.clientWidth;
      const dense = Math.max(window.devicePixelRatio || 1, 1.5);
      const size = Math.round(wide * dense);
      canvas.width = size;
      canvas.height = size;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, size, size);
      if (points) paintPoints(context, size); else paintImages(context, size);
    }

    function tell() {
      const index = Number(range.value);
      const weight = String(Number(data.weights[index].toPrecision(6)));
      const mark = index === data.own ? "the run's weight" : "";
      const shown = document.getElementById("shown");
      const small = document.createElement("small");
      small.textContent = mark;
      shown.replaceChildren(weight, small);
      range.setAttribute("aria-valuetext", mark ? `${weight}, ${mark}` : weight);
      document.getElementById("said").textContent = data.said[index];
      canvas.setAttribute("aria-label", `${data.count} samples at ${data.option} ${weight}`);
    }

    function move() {
      tell();
      const from = position, to = Number(range.value), begin = performance.now();
      cancelAnimationFrame(moving);
      if (calm.matches || !points) { position = to; paint(); return; }
      const step = (now) => {
        const share = Math.min(1, (now - begin) / 180);
        position = share === 1 ? to : from + (to - from) * share * (2 - share);
        paint();
        if (share < 1) moving = requestAnimationFrame(step);
      };
      moving = requestAnimationFrame(step);
    }

    range.addEventListener("input", move);
    document.getElementById("own").addEventListener("click", () => { range.value = data.own; move(); });
    [withTruth, withPaths].forEach((box) => box && box.addEventListener("change", paint));
    redraws.push(paint);
    new ResizeObserver(paint).observe(canvas.parentElement);
    tell();
    paint();
  }

  // Paper is light, and as wide as it is: charts are drawn for it, and back afterwards

  let before;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    redraw();
  });
  window.addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    redraw();
  });
})();
