"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const narrow = matchMedia("(max-width: 40rem)");

  // Figures: drawn when they come into view, in the colours of the page.
  const plots = all(".plot");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // On a phone long names stand in lines, so that they leave room for what they name.
  function broken(figure) {
    const names = [...new Set(figure.data.flatMap((trace) => trace.y || []))];
    const lines = (name) => {
      const rows = [];
      for (const part of name.split(/(?<=,) /)) {
        if (rows.length && (rows.at(-1) + part).length < 20) rows[rows.length - 1] += ` ${part}`;
        else rows.push(part);
      }
      return rows.map((row) => (row.length > 22 ? row.replace(/(.{14,}?) (?=.{4})/g, "$1<br>") : row)).join("<br>");
    };
    return { tickmode: "array", tickvals: names, ticktext: names.map(lines), tickfont: { size: 10 } };
  }

  function layoutOf(figure) {
    const longest = Math.max(0, ...figure.data.filter((trace) => trace.showlegend !== false).map((trace) => (trace.name || "").length));
    const below = narrow.matches || longest > 32;
    const axis = (own) => ({ ...(own.type === "category" && narrow.matches ? broken(figure) : {}), gridcolor: colour("--grid"), zerolinecolor: colour("--line"), linecolor: colour("--line"), ...own });
    return {
      height: 400,
      ...figure.layout,
      ...(narrow.matches && figure.layout.yaxis.type === "category" ? { height: 1.6 * figure.layout.height } : {}),
      xaxis: axis(figure.layout.xaxis),
      yaxis: axis(figure.layout.yaxis),
      margin: { l: 56, r: 16, t: 16, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
      legend: below ? { orientation: "h", x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom" } : { x: 1.01, y: 1 },
      hoverlabel: { namelength: -1 },
    };
  }

  function draw(plot) {
    if (plot.figure) return;
    const holder = plot.closest("figure");
    plot.figure = JSON.parse(holder.querySelector('script[type="application/json"]').textContent);
    try {
      plot.replaceChildren();
      plot.classList.add("drawn");
      Plotly.newPlot(plot, plot.figure.data, layoutOf(plot.figure), { responsive: true, displaylogo: false });
    } catch (error) {
      plot.textContent = `The figure cannot be drawn here (${error.message}); its numbers are below.`;
      return;
    }
    const tools = holder.querySelector(".tools");
    if (plot.figure.data[0]?.type === "heatmap") return;
    tools.hidden = false;
    for (const button of all("button", tools)) {
      const name = `${button.dataset.axis}axis`;
      if (plot.figure.layout[name].type === "category") { button.hidden = true; continue; }
      button.setAttribute("aria-pressed", plot.figure.layout[name].type === "log");
      button.addEventListener("click", () => {
        const pressed = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", pressed);
        plot.figure.layout[name] = { ...plot.figure.layout[name], type: pressed ? "log" : "linear", exponentformat: "power" };
        Plotly.relayout(plot, { [`${name}.type`]: pressed ? "log" : "linear", [`${name}.exponentformat`]: "power", [`${name}.autorange`]: true });
      });
    }
  }

  const redraw = () => plots.filter((plot) => plot.figure).forEach((plot) => Plotly.react(plot, plot.figure.data, layoutOf(plot.figure)));
  if (plots.length) {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
    }, { rootMargin: "300px" });
    plots.forEach((plot) => watcher.observe(plot));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    narrow.addEventListener("change", redraw);
    addEventListener("beforeprint", () => { plots.filter((plot) => plot.offsetParent).forEach(draw); redraw(); });
    addEventListener("afterprint", redraw);
  }

  // Filters.
  const form = document.querySelector(".filters");
  const search = byId("search"), paper = byId("paper");
  const boxes = all('[name="verdict"]');
  const articles = all("article").map((article) => ({
    element: article,
    paper: article.closest(".paper").dataset.paper,
    claims: all(".claim", article).map((claim) => ({ element: claim, verdict: claim.dataset.verdict, text: claim.textContent.toLowerCase() })),
    text: article.querySelector("header").textContent.toLowerCase(),
  }));

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const everything = verdicts.size === boxes.length;
    let shown = 0, total = 0;
    for (const article of articles) {
      let visible = 0;
      const here = !paper.value || paper.value === article.paper;
      for (const claim of article.claims) {
        const matches = here && verdicts.has(claim.verdict) && words.every((word) => claim.text.includes(word) || article.text.includes(word));
        claim.element.hidden = !matches;
        visible += matches;
        total += 1;
      }
      const bare = !article.claims.length && here && everything && words.every((word) => article.text.includes(word));
      article.element.hidden = !(visible || bare);
      shown += visible;
    }
    for (const section of all(".paper")) section.hidden = all("article", section).every((article) => article.hidden);
    byId("nothing").hidden = articles.some((article) => !article.element.hidden);
    byId("shown").textContent = shown === total ? `${total} claims` : `${shown} of ${total} claims`;
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  form.addEventListener("change", filter);
  byId("show-all").addEventListener("click", () => { form.reset(); filter(); });

  // A link to a claim that the filters hide shows it.
  function reveal() {
    const target = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
    if (!target || target.offsetParent) return;
    form.reset();
    filter();
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  filter();  // a browser may have kept what was typed before a reload
  reveal();

  // Copying, where the browser lets a page do it.
  if (navigator.clipboard) for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
