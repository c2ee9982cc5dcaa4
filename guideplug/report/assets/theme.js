// The remembered theme, before anything is shown. Storage may be refused, and then the system's choice holds.
try {
  const kept = localStorage.getItem("guideplug-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch (refused) { /* the system's choice */ }
