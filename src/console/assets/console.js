// What htmx does not do. Everything works without it.
"use strict";

const dialog = document.getElementById("window");
/** Where the focus goes back to when the dialog is closed. */
let opener = null;

// The disconnect window was put into the dialog: show it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.closest("[data-window]")) opener = event.target.closest("details")?.querySelector("summary") ?? event.target;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!dialog.contains(event.target)) return;
  const wasOpen = dialog.open;
  if (!wasOpen) {
    document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });
    dialog.showModal();
  }
  const first = dialog.querySelector("[role=alert], [aria-invalid=true], .error");
  const title = dialog.querySelector("h1");
  if (first) {
    if (first.tabIndex < 0) first.tabIndex = -1;
    first.focus();
  } else if (!wasOpen) {
    // Where only something was shown, htmx leaves the focus where it was.
    title?.focus();
  }
});

// Escape is the browser's own; a click beside it, or "leave it", closes it too.
dialog.addEventListener("click", (event) => {
  const leaves = event.target.closest("[data-close]");
  if (leaves) event.preventDefault();
  if (leaves || event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => {
  document.getElementById("window-body").replaceChildren();
  if (opener?.isConnected) opener.focus();
  opener = null;
});

// A date or a zone was changed: show what it means.
document.addEventListener("change", (event) => {
  const form = event.target.closest("#disconnect-form, #change-form");
  if (!form?.querySelector("#show")) return;
  if (["date", "time", "zone"].includes(event.target.name)) {
    const when = form.elements.namedItem("when");
    if (when) when.value = "date";
    // While a year is typed, 2 is a year as well: the form must not change under the hands of who types.
    if (form.elements.namedItem("date").value >= "1900") form.querySelector("#show").click();
  }
  // Those below a child are asked about when it is to be disconnected too.
  if (event.target.name.startsWith("child:") || (event.target.name === "others" && form.id === "disconnect-form")) form.querySelector("#show").click();
});

// A campaign that runs: its progress is told as it goes on. What comes is a part of our own pages.
const live = document.querySelector("[data-live]");
if (live) {
  const source = new EventSource(live.dataset.live);
  source.addEventListener("progress", (event) => { live.innerHTML = event.data; });
  source.addEventListener("end", (event) => {
    source.close();
    live.innerHTML = event.data;
    // There are other things to do with it now; but nobody is torn from a dialog.
    if (!dialog.open) location.reload();
  });
}

// Menus: one at a time, by arrow keys, closed by Escape or by looking elsewhere.
document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.("details.menu") || !event.target.open) return;
  document.querySelectorAll("details.menu[open]").forEach((menu) => { if (menu !== event.target) menu.open = false; });
}, true);
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu");
  if (!menu) return;
  const items = [...menu.querySelectorAll("a")];
  const at = items.indexOf(document.activeElement);
  const go = (index) => { event.preventDefault(); menu.open = true; items[(index + items.length) % items.length]?.focus(); };
  if (event.key === "ArrowDown") go(at + 1);
  else if (event.key === "ArrowUp") go(at < 0 ? -1 : at - 1);
  else if (event.key === "Home" && menu.open) go(0);
  else if (event.key === "End" && menu.open) go(-1);
  else if (event.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
});
