"use strict";
// The state arrives whole over server-sent events; what is on the screen is brought to it, message by message.

const $ = (id) => document.getElementById(id);
let state = { service: "", phones: [] };
let shown = null; // address whose conversation stands on the screen
let reading = false;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function selected() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  return state.phones.find((phone) => phone.name === wanted) || state.phones[0];
}

const arrived = (message) => message.mine || !["failed", "undelivered"].includes(message.status);
const isUnread = (message) => !message.mine && ["sent", "delivered", "queued"].includes(message.status);

// WhatsApp's marks: *bold*, _italic_, ~struck~, `fixed`, when they enclose text and stand at the edge of words.
const MARKS = /(^|[^\w*_~`])([*_~`])(?=\S)((?:(?!\2)[^\n])*\S)\2(?![\w*_~`])/;
const TAGS = { "*": "strong", _: "em", "~": "s", "`": "code" };

function format(parent, text) {
  const match = MARKS.exec(text);
  if (!match) return parent.append(text);
  parent.append(text.slice(0, match.index) + match[1]);
  const inner = make(TAGS[match[2]]);
  match[2] === "`" ? inner.append(match[3]) : format(inner, match[3]);
  parent.append(inner);
  format(parent, text.slice(match.index + match[0].length));
}

function bubble(phone, message) {
  const element = make("article", message.mine ? "message mine" : "message");
  element.id = message.sid;
  element.setAttribute("aria-label", message.mine ? `${phone.name} wrote` : "Counterfoil wrote");
  const box = make("div", "bubble");
  const original = phone.messages.find((other) => other.sid === message.reply_to);
  if (original) box.append(make("span", "quote", original.body.replace(/[*]/g, "").split("\n")[0]));
  format(box, message.body);
  const time = new Date(message.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  box.append(make("footer", "", message.mine ? `${time} ✓✓` : time));
  element.append(box);
  if (message.buttons.length) {
    const choices = make("div", "choices");
    for (const title of message.buttons) {
      const button = make("button", "", title);
      button.type = "button";
      button.addEventListener("click", () => tap(phone, message, button));
      choices.append(button);
    }
    element.append(choices);
  }
  return element;
}

function showConversation(phone) {
  const list = $("messages");
  if (shown !== phone.address) {
    list.replaceChildren();
    shown = phone.address;
  }
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  let added = false;
  for (const message of phone.messages) {
    let element = document.getElementById(message.sid);
    if (!arrived(message)) {
      if (element) element.remove();
      continue;
    }
    if (!element) {
      list.append(bubble(phone, message));
      added = true;
    }
    if (message.mine && message.reply_to) markChosen(message.reply_to, message.body);
  }
  if (added && atEnd) list.scrollTop = list.scrollHeight;
}

function markChosen(sid, title) {
  const original = document.getElementById(sid);
  if (!original) return;
  for (const button of original.querySelectorAll(".choices button")) {
    if (button.textContent === title) button.classList.add("chosen");
  }
}

function showPeople(current) {
  const tabs = $("people");
  const focused = document.activeElement && document.activeElement.dataset.name;
  tabs.replaceChildren(...state.phones.map((phone) => {
    const tab = make("button");
    tab.type = "button";
    tab.dataset.name = phone.name;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "phone");
    tab.setAttribute("aria-selected", String(phone === current));
    tab.tabIndex = phone === current ? 0 : -1;
    const initial = make("span", "initial", phone.name[0]);
    initial.setAttribute("aria-hidden", "true");
    tab.append(initial, make("span", "", phone.name), make("small", "", phone.number));
    const unread = phone === current ? 0 : phone.messages.filter((m) => arrived(m) && isUnread(m)).length;
    if (unread) {
      const badge = make("span", "unread", String(unread));
      badge.setAttribute("aria-label", `${unread} unread`);
      tab.append(badge);
    }
    tab.addEventListener("click", () => { location.hash = phone.name; });
    return tab;
  }));
  if (focused !== undefined) {
    const again = [...tabs.children].find((tab) => tab.dataset.name === focused);
    if (again) again.focus();
  }
}

function show() {
  const phone = selected();
  if (!phone) return;
  showPeople(phone);
  $("owner").textContent = phone.name;
  $("service").textContent = state.service;
  showConversation(phone);
  document.title = `${phone.name}: Counterfoil demo phone`;
  const fresh = phone.messages.some((message) => message.status === "delivered" && !message.mine);
  if (fresh && document.visibilityState === "visible" && !reading) {
    reading = true;
    post(phone, "read", {}).finally(() => { reading = false; });
  }
}

async function post(phone, deed, body) {
  const address = `/phones/${encodeURIComponent(phone.address)}/${deed}`;
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let trouble = "";
  try {
    const answer = await fetch(address, options);
    const result = await answer.json();
    if (!answer.ok) trouble = result.error;
    else if (deed !== "read" && result.status !== 204) {
      trouble = result.status ? `Counterfoil answered ${result.status}.` : "Nobody took this message.";
    }
  } catch {
    trouble = "The demo does not answer. Is it still running?";
  }
  if (deed !== "read" || trouble) $("trouble").textContent = trouble;
  return !trouble;
}

async function tap(phone, message, button) {
  button.disabled = true;
  await post(phone, "tap", { text: button.textContent, sid: message.sid });
  button.disabled = false;
}

async function say(text) {
  const phone = selected();
  if (phone && text.trim()) await post(phone, "say", { text });
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  $("text").value = "";
  say(text);
});
for (const hint of document.querySelectorAll("[data-word]")) {
  hint.addEventListener("click", () => { $("text").value = hint.dataset.word; $("text").focus(); });
}
$("people").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step || !state.phones.length) return;
  event.preventDefault();
  const index = state.phones.indexOf(selected());
  location.hash = state.phones[(index + step + state.phones.length) % state.phones.length].name;
});
addEventListener("hashchange", show);
document.addEventListener("visibilitychange", show);

const events = new EventSource("events");
events.onopen = () => { $("line").textContent = "online"; $("line").classList.add("up"); };
events.onerror = () => { $("line").textContent = "offline"; $("line").classList.remove("up"); };
events.onmessage = (event) => { state = JSON.parse(event.data); show(); };
