/* 我的单位: everything here is asked of and done by the open interface (/api/v1), with the session's cookie.
   Texts that come from elsewhere become text nodes, never markup. */
(function () {
  "use strict";
  var page, texts, unit, me, kinds = [];

  function t(key, values) {
    return (texts[key] || key).replace(/\{(\w+)\}/g, function (_, name) { return values ? values[name] : "?"; });
  }
  function lang() { return document.getElementById("shell").lang === "en" ? "en" : "zh"; }

  function make(tag, attributes, children) {
    var node = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) {
      var value = attributes[name];
      if (typeof value === "function") { node.addEventListener(name, value); }
      else if (value !== null && value !== false) { node.setAttribute(name, value === true ? "" : value); }
    });
    [].concat(children === undefined ? [] : children).forEach(function (child) {
      if (child !== null && child !== undefined) { node.append(child); }
    });
    return node;
  }
  function section(name) { return document.getElementById("unit-" + name); }
  function show(name, nodes) {
    var place = section(name);
    if (place) { place.replaceChildren.apply(place, [].concat(nodes)); }
  }
  function notice(said, bad) {
    var place = document.getElementById("unit-notice");
    if (!place) { return; }
    place.textContent = said || "";
    place.hidden = !said;
    place.classList.toggle("is-bad-text", Boolean(bad));
  }

  /* ---- the interface ---- */
  function ask(method, path, query, body, headers) {
    var address = new URL("/api/v1/" + path, location.origin);
    Object.keys(query || {}).forEach(function (name) {
      if (query[name] !== null && query[name] !== undefined && query[name] !== "") { address.searchParams.set(name, query[name]); }
    });
    var options = { method: method, credentials: "same-origin", headers: Object.assign({}, headers) };
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    return fetch(address, options).then(function (response) {
      return response.json().then(function (content) {
        if (response.ok) { return content; }
        var said = content.message ? content.message[lang()] + " " + content.hint[lang()] : String(response.status);
        throw new Error(said);
      });
    });
  }
  function told(error) { notice(error.message, true); }
  function can(permission) { return me.permissions.indexOf(permission) >= 0; }
  function scope(query) { return me.unit ? query || {} : Object.assign({ unit: unit }, query); }

  /* ---- figures ---- */
  function moment(iso) {
    if (!iso) { return "—"; }
    return new Intl.DateTimeFormat("sv-SE", { timeZone: page.dataset.zone, dateStyle: "short", timeStyle: "short" }).format(new Date(iso));
  }
  function rate(value) { return value === null ? "—" : (value * 100).toFixed(1) + " %"; }
  function number(value) { return value === null ? "—" : Math.round(value).toLocaleString("en"); }
  function table(heads, rows) {
    return make("div", { "class": "table-wrap" }, make("table", { "class": "table" }, [
      make("thead", {}, make("tr", {}, heads.map(function (head) {
        return make("th", { scope: "col", "class": head[1] || "" }, head[0]);
      }))),
      make("tbody", {}, rows.map(function (cells) {
        return make("tr", {}, cells.map(function (cell, i) {
          return make("td", { "class": (heads[i] || [])[1] || "" }, cell);
        }));
      }))
    ]));
  }
  function none(key) { return make("p", { "class": "unit-none" }, t(key)); }
  function button(key, act, more) {
    return make("button", Object.assign({ type: "button", "class": "chip", click: act }, more), t(key));
  }
  function field(key, control) { return make("label", { "class": "unit-field" }, [make("span", {}, t(key)), control]); }

  /* ---- keys ---- */
  function keys() {
    if (!can("keys:read")) { show("keys", none("no_permission")); return; }
    ask("GET", "keys", scope()).then(function (found) {
      var rows = found.keys.map(function (key) {
        return [
          String(key.key_id), key.name, key.scopes === null ? t("all_scopes") : key.scopes.join(" "),
          moment(key.created_at), moment(key.expires_at), moment(key.last_used_at),
          make("span", { "class": "pill " + (key.valid ? "is-good" : "is-stale") }, t(key.valid ? "key_valid" : "key_ended")),
          key.valid && can("keys:write") ? make("span", { "class": "unit-acts" }, [
            button("rotate", function () { rotate(key); }), button("revoke", function () { revoke(key, false); })
          ]) : null
        ];
      });
      show("keys", [
        table([[t("id"), "num"], [t("name")], [t("scopes")], [t("created")], [t("expires")], [t("last_used")], [t("state")], [""]], rows),
        can("keys:write") ? keyForm() : null
      ].filter(Boolean));
    }).catch(told);
  }
  function keyForm() {
    var name = make("input", { required: true, maxlength: "100", name: "name" });
    var days = make("input", { type: "number", min: "1", max: "3650", value: "365", name: "days" });
    var boxes = (me.unit ? me.permissions : []).map(function (one) {
      return make("label", {}, [make("input", { type: "checkbox", value: one, name: "scope" }), make("code", {}, one)]);
    });
    return make("form", { "class": "unit-form", id: "unit-key-form", submit: function (event) {
      event.preventDefault();
      var body = { name: name.value };
      if (days.value) { body.expires_in_days = Number(days.value); }
      var chosen = Array.from(event.target.querySelectorAll("[name=scope]:checked")).map(function (box) { return box.value; });
      if (chosen.length) { body.scopes = chosen; }
      issued(ask("POST", "keys", scope(), body));
    } }, [
      field("name", name), field("days", days),
      boxes.length ? make("details", {}, [make("summary", {}, t("choose_scopes")), make("div", { "class": "unit-boxes" }, boxes)]) : null,
      make("button", { type: "submit", "class": "chip is-main" }, t("issue"))
    ]);
  }
  /* The key is shown once: it is nowhere else, neither here nor on the server. */
  function issued(asked) {
    asked.then(function (made) {
      notice("");
      var copied = make("span", { role: "status" });
      var box = make("div", { "class": "unit-secret", role: "status" }, [
        make("strong", {}, t("shown_once")), make("code", { id: "unit-secret" }, made.key),
        button("copy", function () {
          navigator.clipboard.writeText(made.key).then(function () { copied.textContent = t("copied"); }, function () {
            getSelection().selectAllChildren(document.getElementById("unit-secret"));
          });
        }), copied, button("hide", function () { box.remove(); })
      ]);
      document.querySelectorAll(".unit-secret").forEach(function (old) { old.remove(); });
      section("keys").before(box);   // outside of what is drawn anew
      keys();
    }).catch(told);
  }
  function rotate(key) {
    var hours = prompt(t("ask_overlap", { name: key.name || key.key_id }), "24");
    if (hours !== null) { issued(ask("POST", "keys/" + key.key_id + "/rotate", scope(), { overlap_hours: Number(hours) })); }
  }
  function revoke(key) {
    if (confirm(t("ask_revoke", { name: key.name || key.key_id }))) {
      ask("DELETE", "keys/" + key.key_id, scope()).then(function () { notice(""); keys(); }).catch(told);
    }
  }

  /* ---- quality ---- */
  function quality() {
    ask("GET", "quality", scope({ limit: 200 })).then(function (found) {
      var heads = [[t("source")], [t("due"), "num"], [t("filled"), "num"], [t("transmission"), "num"], [t("validity"), "num"],
        [t("effective"), "num"], [t("timeliness"), "num"], [t("last"), "num"]];
      function cells(name, one) {
        return [name, number(one.due), number(one.filled), rate(one.transmission_rate), rate(one.validity_rate),
          rate(one.effective_rate), rate(one.timeliness), moment(one.last_received_at)];
      }
      var machines = found.equipment.slice().sort(function (a, b) {
        return (a.effective_rate === null ? 2 : a.effective_rate) - (b.effective_rate === null ? 2 : b.effective_rate);
      });
      show("quality", [
        make("p", { "class": "unit-note" }, t("last_24h")),
        table(heads.concat([[t("p95"), "num"], [t("clock"), "num"]]), found.sources.map(function (one) {
          return cells(one.source, one).concat([
            one.latency_p95_s === null ? "—" : one.latency_p95_s.toFixed(2), one.clock_ahead_s === null ? "—" : one.clock_ahead_s.toFixed(1)]);
        })),
        found.heartbeats.length ? table([[t("heartbeat")], [t("last"), "num"], [t("clock"), "num"], [t("queue"), "num"], [t("share"), "num"]],
          found.heartbeats.map(function (one) {
            return [one.source, moment(one.received_at), one.skew_s.toFixed(1), number(one.queue_depth), rate(one.minutes_share)];
          })) : none("no_heartbeat"),
        table([[t("equipment")]].concat(heads.slice(1), [[t("stopped"), "num"]]), machines.map(function (one) {
          return cells(one.equipment, one).concat([one.stopped_s ? (one.stopped_s / 3600).toFixed(1) : "—"]);
        })),
        found.refused.length ? table([[t("why")], [t("open"), "num"]], found.refused.map(function (one) {
          return [one.message[lang()], number(one.open)];
        })) : none("nothing_refused")
      ]);
    }).catch(told);
  }

  /* ---- stoppages ---- */
  function stoppages() {
    ask("GET", "stoppages", me.unit ? { unit: me.unit, limit: 50 } : { unit: unit, limit: 50 }).then(function (found) {
      var rows = found.stoppages.map(function (one) {
        var open = !one.withdrawn_at && (!one.to || new Date(one.to) > new Date());
        return [
          kindName(one.kind), moment(one.from), one.to ? moment(one.to) : t("until_further"),
          t("scope_" + one.scope) + " · " + number(one.equipment), one.reason, one.voucher || "—",
          one.withdrawn_at ? make("span", { "class": "pill is-stale" }, t("withdrawn")) : "",
          me.unit && can("service:write") && !one.withdrawn_at ? make("span", { "class": "unit-acts" }, [
            open && new Date(one.from) < new Date() ? button("end_now", function () { endNow(one); }) : null,
            button("withdraw", function () { withdraw(one); })
          ]) : null
        ];
      });
      show("stoppages", [
        me.unit && can("service:write") ? stoppageForm() : null,
        rows.length ? table([[t("kind")], [t("from")], [t("to")], [t("scope")], [t("reason")], [t("voucher")], [t("state")], [""]], rows) : none("no_stoppage")
      ].filter(Boolean));
    }).catch(told);
  }
  function kindName(code) {
    var kind = kinds.find(function (one) { return one.code === code; });
    return kind ? kind[lang()] : code;
  }
  function endNow(one) {
    ask("PATCH", "stoppages/" + one.stoppage_id, {}, { to: new Date().toISOString() }).then(stoppages).catch(told);
  }
  function withdraw(one) {
    if (confirm(t("ask_withdraw"))) { ask("DELETE", "stoppages/" + one.stoppage_id).then(stoppages).catch(told); }
  }
  /* A datetime-local says no zone: it is that of the page. */
  function zoned(local) {
    if (!local) { return null; }
    var guess = new Date(local + "Z");
    var there = new Date(new Intl.DateTimeFormat("sv-SE", { timeZone: page.dataset.zone, dateStyle: "short", timeStyle: "medium" })
      .format(guess).replace(" ", "T") + "Z");
    return new Date(2 * guess - there).toISOString();
  }
  function stoppageForm() {
    var kind = make("select", { name: "kind" }, kinds.map(function (one) { return make("option", { value: one.code }, one[lang()]); }));
    var from = make("input", { type: "datetime-local", required: true, name: "from" });
    var to = make("input", { type: "datetime-local", name: "to" });
    var which = make("select", { name: "scope" }, ["equipment", "enterprise", "all"].map(function (one) {
      return make("option", { value: one }, t("scope_" + one));
    }));
    var what = make("input", { name: "what", placeholder: t("what_hint") });
    var reason = make("input", { required: true, maxlength: "500", name: "reason" });
    var voucher = make("input", { maxlength: "200", name: "voucher" });
    return make("form", { "class": "unit-form", id: "unit-stoppage-form", submit: function (event) {
      event.preventDefault();
      var body = { kind: kind.value, from: zoned(from.value), to: zoned(to.value), reason: reason.value };
      if (voucher.value) { body.voucher = voucher.value; }
      if (which.value === "all") { body.all = true; }
      else if (which.value === "enterprise") { body.enterprise_uscc = what.value.trim(); }
      else { body.equipment_codes = what.value.split(/[\s,，、;；]+/).filter(Boolean); }
      ask("POST", "stoppages", {}, body, { "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : String(Math.random()) })
        .then(function () { notice(""); stoppages(); }).catch(told);
    } }, [
      field("kind", kind), field("from", from), field("to", to), field("scope", which), field("what", what),
      field("reason", reason), field("voucher", voucher),
      make("button", { type: "submit", "class": "chip is-main" }, t("declare"))
    ]);
  }

  /* ---- submissions, refused rows ---- */
  function submissions() {
    ask("GET", "submissions", scope({ limit: 50 })).then(function (found) {
      var heads = [[t("at")], [t("dataset")], [t("received"), "num"], [t("accepted"), "num"], [t("duplicates"), "num"], [t("corrections"), "num"], [t("quarantined"), "num"], [t("batch")]];
      show("submissions", found.submissions.length ? table(heads, found.submissions.map(function (one) {
        return [moment(one.applied_at), one.dataset, number(one.received), number(one.accepted), number(one.duplicates),
          number(one.corrections), number(one.quarantined), make("code", {}, one.batch.slice(0, 12))];
      })) : none("no_submission"));
    }).catch(told);
  }
  function refused() {
    if (!me.unit || !can("quarantine:read")) { show("refused", none("own_only")); return; }
    ask("GET", "quarantine", { limit: 50, open: true }).then(function (found) {
      show("refused", found.quarantine.length ? make("ul", { "class": "refusals" }, found.quarantine.map(function (one) {
        return make("li", {}, make("details", {}, [
          make("summary", {}, [
            make("span", { "class": "refusal-time" }, moment(one.received_at)),
            make("span", { "class": "refusal-why" }, one.message[lang()]),
            make("code", { "class": "refusal-place" }, one.tag || one.place)
          ]),
          make("div", { "class": "refusal-body" }, [
            make("p", { "class": "refusal-hint" }, one.hint[lang()]), make("p", {}, [one.source, " · ", one.place]),
            make("pre", {}, one.original_text || one.original_base64 || "")
          ])
        ]));
      })) : none("nothing_refused"));
    }).catch(told);
  }

  /* An operator says whose page it is: one of those known here, or any other code. */
  function choice() {
    var known = JSON.parse(page.dataset.units);
    return make("form", { "class": "unit-form", action: "/unit", method: "get" }, [
      field("unit", make("input", { name: "unit", value: unit, list: "unit-codes", required: true, autocomplete: "off" })),
      make("datalist", { id: "unit-codes" }, Object.keys(known).sort().map(function (code) {
        return make("option", { value: code }, known[code]);
      })),
      make("button", { type: "submit", "class": "chip is-main" }, t("go"))
    ]);
  }

  function begin(found) {
    page = found;
    texts = JSON.parse(page.dataset.texts);
    unit = page.dataset.unit;
    ask("GET", "me").then(function (who) {
      me = who;
      if (!me.unit) { section("choice").replaceChildren(choice()); }
      if (!me.unit && !unit) { notice(t("for_units"), true); return; }
      notice("");
      ask("GET", "codes/stoppage_kind").then(function (table_) { kinds = table_.codes; }).catch(function () { kinds = []; }).then(stoppages);
      keys(); quality(); submissions(); refused();
    }).catch(told);
  }

  function look() {
    var found = document.getElementById("unit-page");
    if (found && found !== page) { begin(found); }
  }
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
})();
