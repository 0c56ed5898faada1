/* 数据报送: sends a file to the open interface, follows it until it is judged, shows what was refused.
   Everything that came from outside is put in as text, never as markup. */
(function () {
  "use strict";
  var API = "/api/v1";
  var STEP = 400;            // ms between two questions how far a file has come
  var words, language, zone, parts, chosen, busy, shown;

  /* ---- elements ---- */
  function make(tag, attributes, children) {
    var node = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) {
      if (name.indexOf("on") === 0) { node.addEventListener(name.slice(2), attributes[name]); }
      else if (attributes[name] === true) { node.setAttribute(name, ""); }
      else if (attributes[name] !== false && attributes[name] !== null) { node.setAttribute(name, attributes[name]); }
    });
    [].concat(children === undefined ? [] : children).forEach(function (child) {
      if (child) { node.append(child); }
    });
    return node;
  }
  function say(key, values) {
    return (words[key] || key).replace(/\{(\w+)\}/g, function (whole, name) {
      return values && name in values ? String(values[name]) : whole;
    });
  }
  function local(text) { return (text && (text[language] || text.zh)) || ""; }
  function number(n) { return n === null || n === undefined ? "–" : Number(n).toLocaleString("en-US"); }
  function when(iso) {
    return iso ? new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" }).format(new Date(iso)) : "";
  }

  /* ---- the interface ---- */
  function ask(path) {
    return fetch(API + path, { credentials: "same-origin", headers: { Accept: "application/json" } }).then(function (answer) {
      return answer.json().then(function (body) {
        if (!answer.ok) { throw body; }
        return body;
      });
    });
  }
  function explained(problem) {
    if (problem && (problem.code === "no_unit" || problem.code === "wrong_key" || problem.code === "no_key" || problem.code === "forbidden")) {
      return say("not_yours");
    }
    if (problem && problem.message) { return local(problem.message) + " " + local(problem.hint); }
    return say("unreachable");
  }

  /* ---- sending ---- */
  function type(file) {
    return /\.csv$/i.test(file.name) ? "text/csv" : "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
  }
  function send() {
    if (!chosen || busy) { return; }
    busy = true;
    refresh();
    bar("upload", 0);
    var request = new XMLHttpRequest();
    var query = "?dry_run=" + parts.dry.checked + "&file_name=" + encodeURIComponent(chosen.name.slice(-200));
    if (parts.voucher.value.trim()) { query += "&voucher=" + encodeURIComponent(parts.voucher.value.trim()); }
    if (parts.reason.value.trim()) { query += "&reason=" + encodeURIComponent(parts.reason.value.trim()); }
    request.open("POST", API + "/datasets/" + encodeURIComponent(parts.dataset.value) + "/files" + query);
    request.setRequestHeader("Content-Type", type(chosen));
    request.upload.onprogress = function (event) {
      if (event.lengthComputable) { bar("upload", event.loaded / event.total); }
    };
    request.onload = function () {
      var body = null;
      try { body = JSON.parse(request.responseText); } catch (error) { /* no answer of ours */ }
      if (request.status === 202 && body) { bar("upload", 1); show(body); follow(body.id); return; }
      done(explained(body));
    };
    request.onerror = function () { done(say("unreachable")); };
    request.send(chosen);
  }
  function done(problem) {
    busy = false;
    parts.bars.replaceChildren();
    if (problem) { parts.result.replaceChildren(make("p", { class: "report-problem", role: "alert" }, problem)); }
    refresh();
    recent();
  }
  function follow(id) {
    ask("/files/" + id).then(function (job) {
      if (!parts || !document.body.contains(parts.root)) { return; }
      show(job);
      if (job.finished) { done(); return; }
      bar("stage." + job.stage, job.rows.of ? job.rows.done / job.rows.of : null,
          job.rows.of ? number(job.rows.done) + " / " + number(job.rows.of) : "");
      setTimeout(follow, STEP, id);
    }, function (problem) { done(explained(problem)); });
  }
  function bar(key, share, note) {
    var percent = share === null ? null : Math.round(share * 100);
    var fill = make("span", { class: "meter-fill" });
    fill.style.width = (percent === null ? 100 : percent) + "%";
    var label = say(key) + (note ? " " + note : percent === null ? "" : " " + percent + "%");
    parts.bars.replaceChildren(
      make("p", { class: "report-stage" }, label),
      make("div", { class: "meter" + (percent === null ? " is-unknown" : ""), role: "progressbar", "aria-label": label,
                    "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent }, fill));
  }

  /* ---- what became of it ---- */
  function figure(key, n, kind) {
    return make("div", { class: "figure" }, [
      make("p", { class: "fig-label" }, say("count." + key)),
      make("p", { class: "fig-value" + (kind && n ? " " + kind : "") }, make("span", { class: "fig-number", "data-count": key }, number(n)))]);
  }
  function show(job) {
    shown = job.id;
    var pieces = [make("p", { class: "report-name" }, [
      make("strong", {}, job.file_name), " · " + local(job.title) + " · " + say("stage." + job.stage),
      job.dry_run ? make("span", { class: "pill is-warn" }, say("dry")) : null])];
    if (job.problem) {
      pieces.push(make("p", { class: "report-problem", role: "alert" }, local(job.problem.message)));
      pieces.push(make("p", { class: "refusal-hint" }, local(job.problem.hint)));
    } else if (job.stage === "failed") {
      pieces.push(make("p", { class: "report-problem", role: "alert" }, say("failed")));
    } else {
      pieces.push(make("div", { class: "headlines is-4" }, [
        figure("accepted", job.counts.accepted), figure("duplicates", job.counts.duplicates),
        figure("corrections", job.counts.corrections), figure("quarantined", job.counts.quarantined, "is-bad-text")]));
    }
    (job.notes.ignored_columns || []).forEach(function (column) {
      pieces.push(make("p", { class: "report-note" }, say("ignored", { cell: column.cell, heading: column.heading })));
    });
    (job.notes.unread_sheets || []).forEach(function (sheet) {
      pieces.push(make("p", { class: "report-note" }, say("unread", { sheet: sheet })));
    });
    if (job.notes.ignored_examples) {
      pieces.push(make("p", { class: "report-note" }, say("examples", { n: job.notes.ignored_examples })));
    }
    if (job.marked) {
      pieces.push(make("p", { class: "report-marked" }, make("a", { class: "button", href: job.marked, download: true, "data-marked": true }, say("marked"))));
    }
    if (job.errors.length) { pieces.push(errors(job)); }
    if (job.errors_cut) { pieces.push(make("p", { class: "report-note" }, say("cut", { n: job.errors.length }))); }
    parts.result.replaceChildren.apply(parts.result, pieces);
  }
  function errors(job) {
    return table(["column.cell", "column.field", "column.rule", "column.mend"], job.errors.map(function (one) {
      return make("tr", {}, [make("td", { class: "num" }, one.cell), make("td", {}, one.label),
        make("td", { class: "is-wide" }, local(one.message)), make("td", { class: "is-wide refusal-hint" }, local(one.hint))]);
    }));
  }
  function table(heads, rows) {
    return make("table", { class: "table" }, [
      make("thead", {}, make("tr", {}, heads.map(function (key) {
        return make("th", { scope: "col", class: key.indexOf("count.") === 0 ? "num" : "" }, say(key));
      }))),
      make("tbody", {}, rows)]);
  }
  function recent() {
    ask("/files?limit=20").then(function (found) {
      if (!found.files.length) { parts.recent.replaceChildren(make("p", { class: "empty" }, say("none"))); return; }
      parts.recent.replaceChildren(table(
        ["column.time", "column.file", "column.dataset", "column.state", "count.accepted", "count.duplicates", "count.corrections", "count.quarantined", "column.marked"],
        found.files.map(function (job) {
          return make("tr", {}, [
            make("td", {}, when(job.created_at)),
            make("td", {}, make("button", { class: "link", type: "button", onclick: function () { open(job.id); } }, job.file_name)),
            make("td", {}, local(job.title)),
            make("td", {}, say("stage." + job.stage) + (job.dry_run ? " · " + say("dry") : "")),
            make("td", { class: "num" }, number(job.counts.accepted)), make("td", { class: "num" }, number(job.counts.duplicates)),
            make("td", { class: "num" }, number(job.counts.corrections)), make("td", { class: "num" }, number(job.counts.quarantined)),
            make("td", {}, job.marked ? make("a", { href: job.marked, download: true }, say("download")) : "")]);
        })));
    }, function (problem) {
      parts.recent.replaceChildren(make("p", { class: "empty" }, explained(problem)));
    });
  }
  function open(id) {
    if (!busy) { ask("/files/" + id).then(show, function (problem) { done(explained(problem)); }); }
  }

  /* ---- the form ---- */
  function pick(file) {
    chosen = file || null;
    refresh();
  }
  function refresh() {
    parts.name.textContent = chosen ? chosen.name : say("drop");
    parts.button.disabled = busy || !chosen || !parts.dataset.value;
    parts.button.textContent = parts.dry.checked ? say("check") : say("upload_it");
    ["xlsx", "csv"].forEach(function (form) {
      parts[form].href = API + "/datasets/" + encodeURIComponent(parts.dataset.value) + "/template." + form;
    });
  }
  function form() {
    parts.dataset = make("select", { id: "reports-dataset", onchange: refresh });
    parts.xlsx = make("a", { class: "chip", download: true }, say("template.xlsx"));
    parts.csv = make("a", { class: "chip", download: true }, say("template.csv"));
    parts.input = make("input", { type: "file", id: "reports-file", accept: ".xlsx,.csv", onchange: function () { pick(parts.input.files[0]); } });
    parts.name = make("span", { class: "drop-name" });
    parts.drop = make("label", { class: "drop", for: "reports-file" }, [parts.name, make("small", {}, say("limits")), parts.input]);
    ["dragenter", "dragover"].forEach(function (event) {
      parts.drop.addEventListener(event, function (e) { e.preventDefault(); parts.drop.classList.add("is-over"); });
    });
    ["dragleave", "drop"].forEach(function (event) {
      parts.drop.addEventListener(event, function (e) { e.preventDefault(); parts.drop.classList.remove("is-over"); });
    });
    parts.drop.addEventListener("drop", function (event) {
      if (event.dataTransfer.files.length > 1) {
        parts.result.replaceChildren(make("p", { class: "report-problem", role: "alert" }, say("one_file")));
      } else { pick(event.dataTransfer.files[0]); }
    });
    parts.dry = make("input", { type: "checkbox", id: "reports-dry", onchange: refresh });
    parts.reason = make("input", { type: "text", id: "reports-reason", maxlength: 500 });
    parts.voucher = make("input", { type: "text", id: "reports-voucher", maxlength: 500 });
    parts.button = make("button", { class: "button", type: "button", onclick: send });
    parts.bars = make("div", { class: "report-bars" });
    parts.result.before(parts.bars);  // where one looks next, and always in sight
    parts.form.replaceChildren(
      make("label", { class: "report-label", for: "reports-dataset" }, say("dataset")), parts.dataset,
      make("p", { class: "report-templates" }, [
        parts.xlsx, parts.csv, make("a", { class: "chip", href: "/docs/reporting", target: "_blank" }, say("docs"))
      ]),
      parts.drop,
      make("label", { class: "report-label", for: "reports-reason" }, say("reason")), parts.reason,
      make("label", { class: "report-label", for: "reports-voucher" }, say("voucher")), parts.voucher,
      make("label", { class: "report-switch" }, [parts.dry, " " + say("dry_run")]),
      parts.button);
    ask("/datasets").then(function (found) {
      found.datasets.forEach(function (one) {
        parts.dataset.append(make("option", { value: one.name }, local(one.title)));
      });
      refresh();
    }, function (problem) { done(explained(problem)); });
  }

  function begin(root) {
    words = JSON.parse(root.dataset.texts);
    language = root.dataset.language;
    zone = root.dataset.zone;
    chosen = null;
    busy = false;
    parts = {
      root: root,
      form: document.getElementById("reports-form"),
      result: document.getElementById("reports-result"),
      recent: document.getElementById("reports-recent")
    };
    parts.result.replaceChildren(make("p", { class: "empty" }, say("nothing_yet")));
    form();
    refresh();
    recent();
  }
  function look() {
    var root = document.getElementById("reports");
    if (root && (!parts || parts.root !== root)) { begin(root); }
  }
  function watch() {
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  }
  if (document.readyState === "loading") { document.addEventListener("DOMContentLoaded", watch); } else { watch(); }
})();
