// Filters rows and keeps the choice in the URL. Only that: every page is complete without it.
//
// A page may have one <form id="filter" hidden>. It is shown, and its controls decide which elements of
// class "filterable" are: a row is shown if it satisfies every control that has a value.
//
//   <select name="backend">    the row's data-backend, split at spaces, holds the value
//   <input name="q">           every word stands in the row's data-text or in its own text, in any case
//   <form data-joint="show dtype kind">
//                              these controls are answered by one and the same set of the row's data-joint,
//                              "alone float32 value;gradient float64 grad_value": sets at semicolons, words
//                              at spaces. So "alone, in float16" is not satisfied by alone in float32 and
//                              something else in float16
//   <button data-set="show=alone">
//                              sets the controls that it names, and is pressed while they have these values;
//                              an <input type="hidden" name="show"> holds what no other control shows
//   <button type="reset">      clears all
//   <output>                   says how many rows are left, as "3 of 40" and the plural of data-unit ("row")
//
// An element of class "filter-group" is hidden while it holds filterable rows and all of them are hidden.
// The URL's query holds every control that has a value, so a link to a choice works; the back button undoes.
//
// On every page: a <details> that holds the target of the URL's hash is open, and what hides the target is shown.
"use strict";
(() => {
  const reveal = (show) => {
    let id = "";
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch {
      return; // a hash that is no text names nothing
    }
    const target = id && document.getElementById(id);
    if (!target) return;
    for (let each = target; each; each = each.parentElement) {
      if (each instanceof HTMLDetailsElement) each.open = true;
    }
    if (target.closest("[hidden]")) show();
    target.scrollIntoView();
  };

  const form = document.getElementById("filter");
  if (!form) {
    window.addEventListener("hashchange", () => reveal(() => {}));
    reveal(() => {});
    return;
  }

  const said = form.querySelector("output");
  const joint = (form.dataset.joint || "").split(" ").filter(Boolean);
  const controls = [...form.querySelectorAll("select[name], input[name]")];
  const buttons = [...form.querySelectorAll("button[data-set]")];
  const rows = [...document.querySelectorAll(".filterable")].map((element) => ({
    element,
    text: `${element.dataset.text || ""} ${element.textContent}`.toLowerCase(),
    sets: (element.dataset.joint || "").split(";").map((one) => new Set(one.split(" "))),
  }));
  const groups = [...document.querySelectorAll(".filter-group")].filter((each) =>
    each.querySelector(".filterable"),
  );

  const state = () => {
    const chosen = new URLSearchParams();
    for (const each of controls) if (each.value.trim()) chosen.set(each.name, each.value.trim());
    return chosen;
  };

  const fits = (row, words, together, apart) =>
    words.every((word) => row.text.includes(word)) &&
    apart.every(([name, value]) => {
      const held = row.element.dataset[name] || "";
      return held === value || held.split(" ").includes(value);
    }) &&
    (!together.length || row.sets.some((set) => together.every((value) => set.has(value))));

  const apply = () => {
    const chosen = [...state()];
    const words = chosen.filter(([name]) => name === "q").flatMap(([, value]) => value.toLowerCase().split(/\s+/));
    const together = chosen.filter(([name]) => joint.includes(name)).map(([, value]) => value);
    const apart = chosen.filter(([name]) => name !== "q" && !joint.includes(name));
    let shown = 0;
    for (const row of rows) {
      const fit = fits(row, words, together, apart);
      row.element.hidden = !fit;
      shown += fit ? 1 : 0;
    }
    for (const each of groups) each.hidden = !each.querySelector(".filterable:not([hidden])");
    for (const each of buttons) {
      const pressed = [...new URLSearchParams(each.dataset.set)].every(
        ([name, value]) => form.elements[name].value === value,
      );
      each.setAttribute("aria-pressed", String(pressed));
    }
    const unit = (form.dataset.unit || "row").replace(/([^aeiou])y$/, "$1ie") + (rows.length === 1 ? "" : "s");
    said.textContent = `${shown} of ${rows.length} ${unit} shown`;
  };

  const remember = (anew) => {
    const query = state().toString();
    const url = location.pathname + (query ? `?${query}` : "") + location.hash;
    if (anew && `?${query}` !== (location.search || "?")) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  };

  // A value of a URL that no button sets is somebody's mistake, and would hide everything for no visible reason.
  const offered = (hidden) =>
    buttons.some((each) => new URLSearchParams(each.dataset.set).get(hidden.name) === hidden.value);

  const restore = () => {
    const given = new URLSearchParams(location.search);
    for (const each of controls) {
      each.value = given.get(each.name) || "";
      if (each instanceof HTMLSelectElement && each.selectedIndex < 0) each.value = "";
      if (each.type === "hidden" && !offered(each)) each.value = "";
    }
    apply();
  };

  const clear = () => {
    for (const each of controls) each.value = "";
    remember(true);
    apply();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    clear();
  });
  form.addEventListener("input", (event) => {
    remember(event.target instanceof HTMLSelectElement);
    apply();
  });
  for (const each of buttons) {
    each.addEventListener("click", () => {
      for (const [name, value] of new URLSearchParams(each.dataset.set)) form.elements[name].value = value;
      remember(true);
      apply();
    });
  }
  window.addEventListener("popstate", restore);
  window.addEventListener("hashchange", () => reveal(clear));
  restore();
  reveal(clear);
})();
