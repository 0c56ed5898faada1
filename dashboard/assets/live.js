/* The page's own watch: pulses over a websocket, ages that count by themselves, and an honest badge
   when the server is gone. Reasons: docs/adr/0004-live-updates.md. */
(function () {
  "use strict";
  var offset = 0;            // server's clock minus ours, ms
  var lastPulse = 0;         // performance.now() of the last sign of life
  var delay = 1000;          // next attempt to connect, ms
  var inFlight = 0;          // callbacks on their way
  var pending = null;        // newest pulse that waits for them
  var pendingSince = 0;
  var socket = null;

  function now() { return Date.now() + offset; }
  function shell() { return document.getElementById("shell"); }
  function period() {
    var s = shell();
    return (s ? parseFloat(s.dataset.period) : 2) * 1000;
  }
  /* Who leaves by the button goes to the plain login page: a pulse or an answer that comes while the button's
     request is under way must not lead elsewhere, or the next person would be taken to where the last one was. */
  var leaving = false;
  document.addEventListener("submit", function (event) {
    if (event.target.getAttribute("action") === "/login/end") { leaving = true; }
  });
  function toLogin() {
    if (leaving) { return; }
    location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  }

  /* Every callback goes through fetch: a lost session leads to the login page, and the next pulse
     waits for the answers of the last one (a page slower than its pulse would never update). */
  var fetching = window.fetch.bind(window);
  window.fetch = function (input, init) {
    var url = typeof input === "string" ? input : input.url;
    if (String(url).indexOf("_dash-update-component") < 0) { return fetching(input, init); }
    inFlight += 1;
    return fetching(input, init).then(function (response) {
      if (response.status === 401) { toLogin(); }
      return response;
    }).finally(function () { inFlight -= 1; setTimeout(deliver, 0); });
  };

  function deliver() {
    if (!pending || !window.dash_clientside || !window.dash_clientside.set_props || !shell()) { return; }
    if (document.hidden && performance.now() - pendingSince < 30000) { return; }
    if (inFlight > 0 && performance.now() - pendingSince < 15000) { return; }
    var pulse = pending;
    pending = null;
    window.dash_clientside.set_props("tick", { data: pulse });
  }

  function onPulse(event) {
    var pulse = JSON.parse(event.data);
    offset = pulse.at - Date.now();
    lastPulse = performance.now();
    delay = 1000;
    if (!pending) { pendingSince = lastPulse; }
    pending = pulse;
    deliver();
    watch();
  }

  function connect() {
    socket = new WebSocket(location.protocol.replace("http", "ws") + "//" + location.host + "/live");
    socket.onmessage = onPulse;
    socket.onclose = function (event) {
      if (event.code === 4401) { toLogin(); return; }
      setTimeout(retry, delay * (0.75 + Math.random() / 2));
      delay = Math.min(delay * 2, 15000);   // for ever: a wall has nobody to press reload
    };
  }

  /* A refused handshake does not say why; a plain request does. */
  function retry() {
    fetching("/live/session", { credentials: "same-origin" }).then(function (response) {
      if (response.status === 401) { toLogin(); } else { connect(); }
    }, function () {
      setTimeout(retry, delay);
      delay = Math.min(delay * 2, 15000);
    });
  }

  /* ---- slots: HTML from the server (escaped there) into elements, changing only what differs ---- */
  function same(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
      (a.nodeType !== 1 || (a.dataset.key || "") === (b.dataset.key || ""));
  }
  function alter(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) { old.nodeValue = fresh.nodeValue; }
      return;
    }
    Array.from(old.attributes).forEach(function (a) {
      // "open" is what the reader did, "data-old" is what the watch below found
      if (a.name !== "open" && a.name !== "data-old" && !fresh.hasAttribute(a.name)) { old.removeAttribute(a.name); }
    });
    Array.from(fresh.attributes).forEach(function (a) {
      if (old.getAttribute(a.name) !== a.value) { old.setAttribute(a.name, a.value); }
    });
    if (!old.classList.contains("age")) { children(old, fresh); }
  }
  function children(old, fresh) {
    var keyed = {};
    Array.from(old.children).forEach(function (c) { if (c.dataset.key) { keyed[c.dataset.key] = c; } });
    var at = old.firstChild;
    Array.from(fresh.childNodes).forEach(function (want) {
      var key = want.nodeType === 1 && want.dataset.key, have = key ? keyed[key] : at;
      if (have && same(have, want)) {
        if (have !== at) { old.insertBefore(have, at); } else { at = at.nextSibling; }
        alter(have, want);
      } else {
        old.insertBefore(want, at);
      }
    });
    while (at) { var next = at.nextSibling; old.removeChild(at); at = next; }
  }
  function fill(node) {
    var template = document.createElement("template");
    template.innerHTML = node.getAttribute("data-html") || "";
    children(node, template.content);
  }
  function slots(root) {
    if (root.matches && root.matches("[data-html]")) { fill(root); }
    if (root.querySelectorAll) { root.querySelectorAll("[data-html]").forEach(fill); }
  }
  document.addEventListener("click", function (event) {
    var link = event.target.closest && event.target.closest("a[data-nav]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) { return; }
    event.preventDefault();
    var to = new URL(link.href);
    history.pushState({}, "", to.pathname + to.search);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));   // as dcc.Link does
    window.scrollTo(0, 0);
  });

  /* ---- ages ---- */
  var zh = { s: " 秒前", m: " 分钟前", h: " 小时前", d: " 天前", now: "刚刚" };
  var en = { s: " s ago", m: " min ago", h: " h ago", d: " d ago", now: "just now" };
  function words(ms) {
    var w = shell() && shell().lang === "en" ? en : zh, s = Math.max(0, Math.floor(ms / 1000));
    if (s < 2) { return w.now; }
    if (s < 120) { return s + w.s; }
    if (s < 7200) { return Math.floor(s / 60) + w.m; }
    if (s < 172800) { return Math.floor(s / 3600) + w.h; }
    return Math.floor(s / 86400) + w.d;
  }
  function age(node) {
    var old = now() - Number(node.dataset.at), limit = Number(node.dataset.stale || 0) * 1000;
    var stale = limit > 0 && old > limit;
    if (node.classList.contains("age")) {
      var said = words(old);
      if (node.textContent !== said) { node.textContent = said; }
    }
    if (node.hasAttribute("data-old") !== stale) { node.toggleAttribute("data-old", stale); }
    var figure = node.closest(".figure");
    if (figure && figure.hasAttribute("data-old") !== stale) { figure.toggleAttribute("data-old", stale); }
  }
  function ages(root) {
    if (root.matches && root.matches("[data-at]")) { age(root); }
    if (root.querySelectorAll) { root.querySelectorAll("[data-at]").forEach(age); }
  }

  /* ---- badge, clock ---- */
  function watch() {
    var html = document.documentElement;
    var silent = performance.now() - lastPulse;
    var offline = silent > Math.max(8000, 4 * period());
    html.classList.toggle("is-offline", offline && lastPulse > 0 || performance.now() > 15000 && lastPulse === 0);
    html.classList.toggle("is-waiting", lastPulse === 0 && performance.now() <= 15000);
    var clock = document.getElementById("clock");
    if (clock) {
      var t = new Intl.DateTimeFormat("sv-SE", {
        timeZone: clock.dataset.zone, dateStyle: "short", timeStyle: "medium"
      }).format(new Date(now()));
      if (clock.textContent !== t) { clock.textContent = t; }
    }
  }

  function begin() {
    connect();
    setInterval(function () { ages(document); watch(); deliver(); }, 1000);
    new MutationObserver(function (changes) {
      changes.forEach(function (change) {
        if (change.attributeName === "data-html") { fill(change.target); return; }
        if (change.attributeName === "data-at") { age(change.target); return; }
        change.addedNodes.forEach(slots);
        change.addedNodes.forEach(ages);
      });
    }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-at", "data-html"] });
  }
  if (document.readyState === "loading") { document.addEventListener("DOMContentLoaded", begin); } else { begin(); }
})();
