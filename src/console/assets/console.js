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

// Escape is the browser's own; a click beside it, or "leave it", closes it too. Not one that only ends there: who selects
// a text with the mouse may let go anywhere.
let pressedBeside = false;
dialog.addEventListener("pointerdown", (event) => { pressedBeside = event.target === dialog; });
dialog.addEventListener("click", (event) => {
  const leaves = event.target.closest("[data-close]");
  if (leaves) event.preventDefault();
  if (leaves || (pressedBeside && event.target === dialog)) dialog.close();
});
dialog.addEventListener("close", () => {
  document.getElementById("window-body").replaceChildren();
  if (opener?.isConnected) opener.focus();
  opener = null;
});

// What can't be shown in its place (the server is away, or refuses a list) is said above it, and nothing is lost.
function trouble(host, text) {
  document.getElementById("trouble")?.remove();
  if (!text) return;
  const alert = document.createElement("p");
  alert.id = "trouble";
  alert.className = "alert";
  alert.setAttribute("role", "alert");
  alert.textContent = text;
  host.prepend(alert);
}
const hostOf = (element) => element.closest("[data-host]") ?? document.getElementById("main");
document.addEventListener("htmx:sendError", (event) => {
  trouble(hostOf(event.target), "The server can't be reached, so nobody knows whether this was done. Look, before you do it again.");
});
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  const elt = requestConfig.elt;
  const isList = elt.hasAttribute?.("hx-select");
  if (xhr.status >= 500 || (isList && xhr.status >= 400) || (xhr.status === 403 && elt.matches?.("form"))) {
    const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const said = page.querySelector("p:not(.muted)")?.textContent ?? "Something went wrong.";
    const id = page.getElementById("request-id")?.textContent;
    trouble(hostOf(elt), id ? `${said} (request ${id})` : said);
    event.detail.shouldSwap = false;
    return;
  }
  trouble(hostOf(elt), null);
  // What was filled in while the answer was on its way is asked about anew, and not lost.
  if (elt.matches?.("form") && requestConfig.parameters.step === "show" && elt.isConnected && filledIn(elt) !== asked.get(elt)) {
    event.detail.shouldSwap = false;
    // This request has to end before the next one begins. While a year is typed, whoever types it asks in the end.
    const date = elt.elements.namedItem("date")?.value;
    if (!date || date >= "1900") setTimeout(() => elt.querySelector("#show")?.click());
  }
});
/** What a form held when it was sent. */
const asked = new WeakMap();
const filledIn = (form) => new URLSearchParams(new FormData(form)).toString();
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches?.("form[hx-post]")) asked.set(event.target, filledIn(event.target));
});

// A date, a zone or a choice was changed: show what it means.
document.addEventListener("change", (event) => {
  const form = event.target.closest("#disconnect-form, #change-form");
  const show = form?.querySelector("#show");
  if (!show) return;
  // While an answer is on its way, it is asked anew once that is there; what was chosen counts at once.
  const isAsked = form.querySelector("#disconnect, #confirm")?.disabled;
  const ask = () => { if (!isAsked) show.click(); };
  const when = form.elements.namedItem("when");
  const date = form.elements.namedItem("date");
  if (["date", "time", "zone"].includes(event.target.name)) {
    if (when && date.value) when.value = "date";
    // While a year is typed, 2 is a year as well: the form must not change under the hands of who types.
    if (date.value >= "1900") ask();
  }
  if (event.target.name === "when" && event.target.value === "now") {
    date.value = "";
    form.elements.namedItem("time").value = "";
    ask();
  }
  // Those below a child are asked about when it is to be disconnected too.
  if (event.target.name.startsWith("child:") || (event.target.name === "others" && form.id === "disconnect-form")) ask();
});

// A form without htmx is sent once, however often its button is clicked.
document.addEventListener("submit", (event) => {
  if (event.target.method === "dialog" || event.target.matches("[hx-post], [hx-get]")) return;
  setTimeout(() => event.target.querySelectorAll("button").forEach((button) => { button.disabled = true; }));
});
// The browser's way back shows the page as it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; });
});

// A campaign that runs: its progress is told as it goes on. What comes is a part of our own pages.
const live = document.querySelector("[data-live]");
if (live) {
  const source = new EventSource(live.dataset.live);
  const told = document.getElementById("live-state");
  const show = (html) => {
    // Nobody is torn from a link that they are at.
    if (live.contains(document.activeElement)) return;
    live.innerHTML = html;
    const state = live.querySelector("#state").textContent;
    if (told.textContent !== state) told.textContent = state;
  };
  source.addEventListener("progress", (event) => show(event.data));
  source.addEventListener("end", (event) => {
    source.close();
    show(event.data);
    // There are other things to do with it now; but nobody is torn from a dialog.
    if (!dialog.open) location.reload();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) trouble(live.parentElement, "This page does not follow it any more. Reload it to see how it goes on.");
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
