// The theme: as the system has it, or light or dark by choice. Runs before the page is painted.
"use strict";
(() => {
  const root = document.documentElement;
  const names = ["system", "light", "dark"];
  const texts = { system: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  let now = "system";
  try {
    const kept = window.localStorage.getItem("regunlearn-theme");
    if (names.includes(kept)) now = kept;
  } catch { /* a browser that keeps nothing */ }
  const set = () => {
    if (now === "system") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", now);
    const button = document.getElementById("theme");
    if (button) button.textContent = texts[now];
  };
  root.classList.add("with-scripts");
  set();
  document.addEventListener("DOMContentLoaded", () => {
    for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
    set();
    document.getElementById("theme").addEventListener("click", () => {
      now = names[(names.indexOf(now) + 1) % names.length];
      try { window.localStorage.setItem("regunlearn-theme", now); } catch { /* not kept */ }
      set();
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
