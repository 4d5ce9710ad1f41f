// Turns the sections under "Reproduce it" into tabs, and offers to copy. The page is complete without it.
"use strict";
(() => {
  const tabs = document.querySelector(".tabs");
  if (!tabs) return;
  const panels = [...tabs.querySelectorAll(":scope > .tab")];
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Ways to reproduce it");
  const buttons = panels.map((panel) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `${panel.id}-button`;
    button.textContent = panel.querySelector("h3").textContent;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    list.append(button);
    return button;
  });

  const select = (place, focus) => {
    buttons.forEach((button, each) => {
      button.setAttribute("aria-selected", String(each === place));
      button.tabIndex = each === place ? 0 : -1;
      panels[each].hidden = each !== place;
    });
    if (focus) buttons[place].focus();
  };
  const linked = () => {
    const place = panels.findIndex((panel) => `#${panel.id}` === location.hash);
    if (place < 0) return;
    select(place, false);
    panels[place].scrollIntoView();
  };

  list.addEventListener("click", (event) => {
    const place = buttons.indexOf(event.target.closest("[role=tab]"));
    if (place >= 0) select(place, true);
  });
  list.addEventListener("keydown", (event) => {
    const now = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const to = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now ? now - 1 : last, Home: 0, End: last };
    if (now < 0 || !(event.key in to)) return;
    event.preventDefault();
    select(to[event.key], true);
  });

  for (const block of tabs.querySelectorAll("pre")) {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "copy";
    copy.textContent = "Copy";
    copy.setAttribute("aria-label", `Copy: ${block.getAttribute("aria-label")}`);
    const said = document.createElement("span");
    said.className = "small";
    said.setAttribute("role", "status");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.textContent);
        said.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block);
        said.textContent = "Selected: copy it with the keyboard";
      }
    });
    block.after(copy, said);
  }
  tabs.prepend(list);
  tabs.classList.add("live");
  select(0, false);
  linked();
  addEventListener("hashchange", linked);
})();
