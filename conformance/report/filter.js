// Only filters: the page is complete without it.
"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const groups = [...document.querySelectorAll("details.group")];
  const said = form.querySelector("output");

  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const selects = [...form.querySelectorAll("select")].filter((each) => each.value);
    let shown = 0;
    for (const group of groups) {
      const text = (group.dataset.text || "").toLowerCase();
      const fits = words.every((word) => text.includes(word));
      const chosen = selects.every((each) => group.dataset[each.name] === each.value);
      group.hidden = !(fits && chosen);
      shown += group.hidden ? 0 : 1;
    }
    said.textContent = `${shown} of ${groups.length} groups shown`;
  };

  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };

  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  window.addEventListener("hashchange", open);
  apply();
  open();
})();
