// What the page does where there is JavaScript: it follows what happens. Without, every view reads the same.
(function () {
  "use strict";
  var holder = document.getElementById("live");
  if (!holder || !window.htmx) return;
  var lost = document.getElementById("lost");

  // A browser gives a host six connections. A tab that nobody sees leaves its own to others, and of those that are seen
  // four follow; the others look now and then.
  var FOLLOWING = 4;
  var EVERY_MS = 15000;
  var release = null;
  var timer = null;
  function open() {
    if (navigator.locks) take(1);
    else follow();
  }
  function take(number) {
    if (isOpen()) return;
    if (number > FOLLOWING) {
      timer = window.setInterval(refresh, EVERY_MS);
      return;
    }
    navigator.locks.request("branchline-live-" + number, { ifAvailable: true }, function (lock) {
      if (!lock) return void take(number + 1);
      if (isOpen()) return undefined;
      follow();
      return new Promise(function (done) {
        release = done;
      });
    });
  }
  function isOpen() {
    return document.hidden || holder.firstChild || timer;
  }
  function follow() {
    if (isOpen()) return;
    var stream = document.createElement("div");
    stream.setAttribute("hx-ext", "sse");
    stream.setAttribute("sse-connect", holder.dataset.stream);
    holder.append(stream);
    htmx.process(stream);
  }
  function close() {
    if (holder.firstChild) htmx.remove(holder.firstChild);
    if (release) release();
    if (timer) window.clearInterval(timer);
    release = timer = null;
  }
  function refresh() {
    document.querySelectorAll("[data-live]").forEach(function (part) {
      // Nothing is taken from under somebody's hands.
      var at = document.activeElement;
      var isBusy = at && part.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
      if (!isBusy && !part.querySelector("details[open][data-form]")) htmx.trigger(part, "again");
    });
  }

  var wasLost = false;
  function heard(event) {
    lost.hidden = true;
    // What has changed between the page and its stream, nobody else says.
    if (wasLost || event.data !== holder.dataset.seen) refresh();
    wasLost = false;
  }
  document.body.addEventListener("htmx:sseOpen", function (event) {
    var source = event.detail.source;
    source.addEventListener("begun", heard);
    source.addEventListener("changed", refresh);
    source.addEventListener("quiet", refresh);
  });
  document.body.addEventListener("htmx:sseError", function () {
    wasLost = true;
    lost.hidden = false;
  });
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) {
      close();
    } else {
      refresh();
      open();
    }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
})();
