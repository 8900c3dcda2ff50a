// What a page does beyond its HTML: it refreshes its live parts in place, and shows the values of a
// chart under the pointer. Without it everything is there, as of when it was loaded.
"use strict";

(() => {
  const SECONDS = 10;
  const LONGEST_SECONDS = 120;
  const message = document.getElementById("refresh");
  let failures = 0;
  let since = null;

  // --- live parts -------------------------------------------------------------------------------

  const say = (words) => {
    if (message.textContent !== words) message.textContent = words;
  };

  const isInUse = (part) => {
    const selection = document.getSelection();
    const selects = selection && !selection.isCollapsed && selection.containsNode(part, true);
    const field = document.activeElement;
    const writes = field instanceof HTMLInputElement && part.contains(field);
    return Boolean(selects || writes);
  };

  // The element with the focus, as the path of places from the live part down to it.
  const placeOf = (part, element) => {
    const places = [];
    for (let at = element; at !== part; at = at.parentElement) {
      places.unshift([...at.parentElement.children].indexOf(at));
    }
    return places;
  };

  const elementAt = (part, places) => {
    let at = part;
    for (const place of places) {
      if (!at.children[place]) return null;
      at = at.children[place];
    }
    return at;
  };

  const replace = (part, fresh) => {
    if (part.innerHTML === fresh.innerHTML || isInUse(part)) return;
    const offsets = [...part.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    const focused = part.contains(document.activeElement) && document.activeElement !== part;
    const places = focused ? placeOf(part, document.activeElement) : [];
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll(".scroll").forEach((box, number) => {
      if (offsets[number]) [box.scrollLeft, box.scrollTop] = offsets[number];
    });
    if (focused) elementAt(part, places)?.focus({ preventScroll: true });
  };

  const use = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
      if (fresh) replace(part, fresh);
    }
    const seen = page.getElementById("seen");
    if (seen) document.getElementById("seen").replaceChildren(...seen.childNodes);
  };

  const refresh = async () => {
    if (document.hidden) return plan();
    try {
      const signal = AbortSignal.timeout(1000 * SECONDS);
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal });
      if (answer.status === 401) return say("The token has changed: load the page again.");
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      use(await answer.text());
      failures = 0;
      since = null;
      say("");
    } catch {
      failures += 1;
      since ??= new Date();
      const time = since.toISOString().slice(11, 19);
      if (failures > 1) say(`Not refreshed since ${time} UTC: tixd does not answer.`);
    }
    plan();
  };

  const plan = () => {
    const seconds = Math.min(SECONDS * 2 ** Math.max(0, failures - 1), LONGEST_SECONDS);
    setTimeout(refresh, 1000 * seconds);
  };

  if (document.querySelector("[data-live]")) plan();

  // --- values under the pointer -----------------------------------------------------------------

  // A point of a chart has its value in words in data-value; the nearest one is shown.
  const show = (event) => {
    const chart = event.target.closest?.(".chart");
    const line = chart?.querySelector(".value");
    if (!line) return;
    let nearest = null;
    let least = Infinity;
    for (const point of chart.querySelectorAll("[data-value]")) {
      const box = point.getBoundingClientRect();
      const distance = Math.abs((box.left + box.right) / 2 - event.clientX)
        + Math.abs((box.top + box.bottom) / 2 - event.clientY) / 1000;
      if (distance < least) [nearest, least] = [point, distance];
    }
    line.textContent = nearest ? nearest.dataset.value : "";
  };

  document.addEventListener("pointermove", show);
  document.addEventListener("pointerout", (event) => {
    const chart = event.target.closest?.(".chart");
    if (chart && !chart.contains(event.relatedTarget)) chart.querySelector(".value").textContent = "";
  });
})();
