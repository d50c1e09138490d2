"use strict";
// The campaign simulator: what a campaign earns, from cells of customers of nearly the same probability and value.
(() => {
  const holder = document.getElementById("campaign-data");
  const told = holder && JSON.parse(holder.textContent);
  if (!told) return;
  const plan = told.campaign, REPLICATES = 500, GRID = 60;
  const own = plan.own_values, byShare = plan.offer_share !== null;
  const cells = told.cells.map(([n, left, p, v, lost]) => ({ n, left, stay: n - left, p, v, lost, kept: n > left ? (n * v - left * lost) / (n - left) : v }));
  const form = document.getElementById("campaign");
  const input = Object.fromEntries(["value", "offer", "contact", "acceptance", "budget", "base"].map((key) => [key, document.getElementById("s-" + key)]));
  const shown = (id, text) => { document.getElementById(id).textContent = text; };

  // --- how figures are written -------------------------------------------------------------------------------------
  const number = (value, digits = 0) => Math.abs(value).toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
  const money = (value) => {
    const size = Math.abs(value), digits = size >= 100 || size === 0 ? 0 : 2;
    const text = number(size, digits);
    return (value < 0 && Number(text.replace(/,/g, "")) ? "−" : "") + text;
  };
  const unit = (text) => (plan.currency ? text + " " + plan.currency : text);
  const percent = (share) => number(share * 100, share && share < 0.1 ? 1 : 0) + " %";
  const short = (value) => {
    const size = Math.abs(value);
    const word = size >= 1e6 ? +(size / 1e6).toPrecision(4) + "M" : size >= 1e4 ? +(size / 1e3).toPrecision(4) + "k" : String(+size.toPrecision(6));
    return (value < 0 ? "−" : "") + word;
  };

  // --- resampled cells: a Poisson number of churners and of stayers in each --------------------------------------------
  let state = 20240601;
  const chance = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const poisson = (mean) => {
    if (mean <= 0) return 0;
    if (mean > 40) return Math.max(0, Math.round(mean + Math.sqrt(mean) * Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance())));
    let count = 0, product = chance();
    for (const limit = Math.exp(-mean); product > limit; product *= chance()) count += 1;
    return count;
  };
  const drawn = Array.from({ length: REPLICATES }, () => {
    const left = Float64Array.from(cells, (cell) => poisson(cell.left)), stay = Float64Array.from(cells, (cell) => poisson(cell.stay));
    const sums = [left, stay].map((counts) => counts.reduce((a, b) => a + b, 0)), total = sums[0] + sums[1];
    // Where the test rows were dealt class by class, the churn rate is given; else it varies with the draw.
    const [ofLeft, ofStay] = plan.stratified ? [plan.positives / (sums[0] || 1), (plan.n - plan.positives) / (sums[1] || 1)] : [plan.n / (total || 1), plan.n / (total || 1)];
    return { left: left.map((count) => count * ofLeft), stay: stay.map((count) => count * ofStay) };
  });
  const interval = (values) => {
    const sorted = Float64Array.from(values).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
    return [at(0.025), at(0.975)];
  };

  // --- the sliders: position to amount ---------------------------------------------------------------------------------
  const nice = (value) => { const power = 10 ** Math.floor(Math.log10(value)); return [1, 2, 5, 10].map((times) => times * power).find((one) => one >= value); };
  const ends = {
    value: own ? 4 : Math.max(4 * plan.value, 1),
    offer: byShare ? 1 : Math.max(4 * plan.offer_cost, plan.mean_value / 2, 1),
    contact: Math.max(10 * plan.contact_cost, 1),
  };
  const starts = { value: own ? 1 : plan.value, offer: byShare ? plan.offer_share : plan.offer_cost, contact: plan.contact_cost };
  const amount = {};
  for (const key of Object.keys(ends)) {
    input[key].max = ends[key];
    input[key].step = own && key === "value" ? 0.05 : byShare && key === "offer" ? 0.005 : nice(ends[key] / 400) || 1;
    input[key].setAttribute("value", starts[key]);  // what "reset" goes back to
    input[key].value = starts[key];
    // A start between two steps counts as it is until the slider is moved.
    amount[key] = () => (input[key].value === input[key].dataset.start ? starts[key] : Number(input[key].value));
    input[key].dataset.start = input[key].value;
  }
  const percentStart = input.acceptance.value;
  const acceptance = () => (input.acceptance.value === percentStart ? plan.expected_acceptance : Number(input.acceptance.value) / 100);
  const base = () => Math.max(1, Math.round(Number(input.base.value) || plan.n));

  const assumptions = () => ({ value: amount.value(), offer: amount.offer(), contact: amount.contact(), acceptance: acceptance() });
  const worth = (v, a) => (own ? v * a.value : a.value);
  const offerOf = (v, a) => (byShare ? a.offer * Math.max(v, 0) : a.offer);
  const gainOf = (p, v, a) => {
    const value = worth(v, a), offer = offerOf(value, a);
    return p * (a.acceptance * (value - offer) + offer) - offer - a.contact;
  };
  const spendOf = (p, v, a) => a.contact + offerOf(worth(v, a), a) * (1 - p + a.acceptance * p);
  // Budgets reach to one and a half times what contacting everybody costs at the start.
  const dearest = nice(1.5 * cells.reduce((sum, cell) => sum + cell.n * spendOf(cell.p, cell.v, { ...starts, acceptance: plan.expected_acceptance }), 0) || 1);
  const budget = () => (Number(input.budget.value) >= 1000 ? Infinity : dearest * (Number(input.budget.value) / 1000) ** 2 * (base() / plan.n));

  // --- what a campaign earns ---------------------------------------------------------------------------------------------
  const simulate = () => {
    const a = assumptions(), scale = base() / plan.n;
    const rows = cells.map((cell, place) => {
      const lost = worth(cell.lost, a), kept = worth(cell.kept, a);
      return { ...cell, place, gain: gainOf(cell.p, cell.v, a), spend: spendOf(cell.p, cell.v, a),
        saved: a.acceptance * (lost - offerOf(lost, a)) - a.contact, wasted: -(offerOf(kept, a) + a.contact) };
    }).sort((one, other) => other.gain - one.gain || other.p - one.p);
    let left = budget() / scale, cut = Infinity;
    for (const row of rows) {
      row.part = row.gain > 0 ? Math.max(0, Math.min(1, row.spend > 0 ? left / (row.n * row.spend) : 1)) : 0;
      left -= row.part * row.n * row.spend;
      if (row.part > 0) cut = row.gain;
    }
    const sum = (of) => rows.reduce((total, row) => total + of(row), 0);
    const result = {
      scale, cut, rows,
      contacted: sum((row) => row.part * row.n), reached: sum((row) => row.part * row.left), spent: sum((row) => row.part * row.n * row.spend),
      profit: sum((row) => row.part * (row.left * row.saved + row.stay * row.wasted)),
      all: sum((row) => row.left * row.saved + row.stay * row.wasted),
      lowest: Math.min(...rows.filter((row) => row.part > 0).map((row) => row.p)),
    };
    // Along the list: the profit, and that of each resampled set, at some places.
    const marks = Array.from({ length: GRID + 1 }, (_, i) => (i / GRID) * plan.n);
    const along = (of) => {
      const found = [0]; let before = 0, done = 0, place = 1;
      for (const row of rows) {
        const paid = of(row);
        while (place <= GRID && marks[place] <= done + row.n + 1e-9) { found.push(before + paid * (marks[place] - done) / row.n); place += 1; }
        done += row.n; before += paid;
      }
      while (found.length <= GRID) found.push(before);
      return found;
    };
    result.curve = along((row) => row.left * row.saved + row.stay * row.wasted);
    const paths = drawn.map((set) => along((row) => set.left[row.place] * row.saved + set.stay[row.place] * row.wasted));
    result.bands = marks.map((_, i) => interval(paths.map((path) => path[i])));
    result.band = interval(drawn.map((set) => sum((row) => row.part * (set.left[row.place] * row.saved + set.stay[row.place] * row.wasted))));
    return result;
  };

  // --- the picture ---------------------------------------------------------------------------------------------------------
  const W = 440, H = 290, LEFT = 62, RIGHT = 12, TOP = 12, BOTTOM = 44;
  const chart = document.getElementById("r-chart");
  const draw = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    chart.append(element);
  };
  const roundStep = (span) => { const rough = span / 6, power = 10 ** Math.floor(Math.log10(rough)); return power * ([1, 2, 5].find((times) => times * power >= rough * 0.999) || 10); };
  const picture = (r) => {
    const y = [0, ...r.curve, ...r.bands.flat()].map((one) => one * r.scale);
    const step = roundStep(Math.max(...y) - Math.min(...y) || 1);
    const low = Math.floor(Math.min(...y) / step) * step, high = Math.ceil(Math.max(...y) / step) * step || step;
    const atX = (share) => LEFT + share * (W - LEFT - RIGHT), atY = (value) => H - BOTTOM - ((value - low) / (high - low)) * (H - TOP - BOTTOM);
    chart.replaceChildren();
    for (let value = low; value <= high + step / 2; value += step) {
      const tick = Math.abs(value) < step / 1e6 ? 0 : value;
      draw("line", { class: tick ? "grid" : "zero", x1: LEFT, x2: W - RIGHT, y1: atY(tick), y2: atY(tick) });
      draw("text", { class: "tick", x: LEFT - 7, y: atY(tick) + 4, "text-anchor": "end" }, short(tick));
    }
    for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) draw("text", { class: "tick", x: atX(share), y: H - BOTTOM + 17, "text-anchor": share === 1 ? "end" : "middle" }, percent(share));
    draw("text", { class: "label", x: (LEFT + W - RIGHT) / 2, y: H - 6, "text-anchor": "middle" }, "share of customers contacted");
    const place = (i, value) => atX(i / GRID).toFixed(1) + "," + atY(value * r.scale).toFixed(1);
    draw("polygon", { class: "band a", points: [...r.bands.map((one, i) => place(i, one[1])), ...r.bands.map((one, i) => place(i, one[0])).reverse()].join(" ") });
    draw("polyline", { class: "curve ref", points: place(0, 0) + " " + place(GRID, r.all) });
    draw("polyline", { class: "curve a", points: r.curve.map((one, i) => place(i, one)).join(" ") });
    draw("circle", { class: "dot b", r: 5, cx: atX(r.contacted / plan.n), cy: atY(r.profit * r.scale) });
    chart.setAttribute("aria-label", `Profit by customers contacted: ${unit(money(r.profit * r.scale))} with ${percent(r.contacted / plan.n)} contacted, ${unit(money(r.all * r.scale))} with everybody.`);
  };

  // --- the list --------------------------------------------------------------------------------------------------------------
  const list = document.querySelector("#list tbody");
  const lines = list ? [...list.rows].map((row) => ({ row, p: Number(row.dataset.p), v: Number(row.dataset.v), name: row.cells[0].textContent.toLowerCase(), gain: row.querySelector(".gain") })) : [];
  const find = document.getElementById("list-find"), only = document.getElementById("list-only");
  const more = document.getElementById("list-more"), FIRST = 20;
  let all = false;
  const relist = (r) => {
    if (!list) return;
    const a = assumptions(), wanted = find.value.trim().toLowerCase();
    let chosen = 0;
    for (const line of lines) {
      line.now = gainOf(line.p, line.v, a);
      line.contact = line.now > 0 && line.now >= r.cut - Math.abs(r.cut) * 1e-9;
      chosen += line.contact;
      line.gain.textContent = money(line.now);
      line.row.className = line.contact ? "contact" : "skip-it";
      line.row.hidden = (wanted && !line.name.includes(wanted)) || (only.checked && !line.contact);
    }
    const seen = lines.filter((line) => !line.row.hidden).sort((one, other) => other.now - one.now || other.p - one.p);
    seen.forEach((line, i) => line.row.classList.toggle("later", i >= FIRST && !all));
    more.hidden = all || seen.length <= FIRST;
    more.textContent = `Show all ${seen.length}`;
    lines.sort((one, other) => other.now - one.now || other.p - one.p);
    list.append(...lines.map((line) => line.row));
    shown("list-told", `${chosen} of the ${lines.length} listed are in the plan above, marked ●`);
  };

  // --- all of it ---------------------------------------------------------------------------------------------------------------
  let waiting = 0;
  const update = () => {
    waiting = 0;
    const a = assumptions(), r = simulate();
    const said = {
      value: own ? number(a.value, 2) + " ×" : unit(money(a.value)), offer: byShare ? percent(a.offer) : unit(money(a.offer)), contact: unit(money(a.contact)),
      acceptance: percent(a.acceptance), budget: budget() === Infinity ? "no limit" : unit(money(budget())),
    };
    for (const [key, text] of Object.entries(said)) { shown("o-" + key, text); input[key].setAttribute("aria-valuetext", text); }
    shown("r-profit", money(r.profit * r.scale));
    shown("r-band", `${money(r.band[0] * r.scale)} to ${money(r.band[1] * r.scale)}`);
    shown("r-contacted", number(Math.round(r.contacted * r.scale)));
    shown("r-share", percent(r.contacted / plan.n) + " of the base" + (r.contacted && !own ? ", from a risk of " + percent(r.lowest) : ""));
    shown("r-reached", percent(plan.positives ? r.reached / plan.positives : 0));
    shown("r-churners", number(Math.round(r.reached * r.scale)) + " customers");
    shown("r-spent", money(r.spent * r.scale));
    shown("r-from", r.contacted ? money(r.spent / r.contacted) + " per contact" : "nobody is worth it");
    picture(r);
    relist(r);
  };
  const soon = () => { waiting = waiting || requestAnimationFrame(update); };
  form.addEventListener("input", soon);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  form.hidden = false;
  if (list) {
    document.getElementById("list-tools").hidden = false;
    for (const one of [find, only]) one.addEventListener("input", soon);
    more.addEventListener("click", () => { all = true; update(); });
  }
  update();
})();
