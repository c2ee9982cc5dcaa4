// Tables that scroll can be reached by keyboard, and the search has a name for screen readers.
document.addEventListener("DOMContentLoaded", () => {
  const wrap = () => {
    for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
      table.tabIndex = 0;
      table.setAttribute("role", "region");
      table.setAttribute("aria-label", "table");
    }
  };
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  wrap(); // the theme wraps tables when it has started, so look again then
  new MutationObserver(wrap).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
});
