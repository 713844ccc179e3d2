"use strict";
// The state arrives whole over server-sent events; what is on the screen is brought to it, phone by phone, message by
// message. #NAME shows one phone, #all shows everybody's side by side.

const $ = (id) => document.getElementById(id);
const ALL = "all";
let state = { service: "", late: 0, twice: false, phones: [] };
let connected = false;
const screens = new Map(); // address → its section
const reading = new Set();
const closedCalls = new Set(); // sids of calls that ended and were put away

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const wanted = () => decodeURIComponent(location.hash.slice(1));
const selected = () => state.phones.find((phone) => phone.name === wanted()) || state.phones[0];
const arrived = (message) => message.mine || !["failed", "undelivered"].includes(message.status);
const isUnread = (message) => !message.mine && ["sent", "delivered", "queued"].includes(message.status);

// WhatsApp's marks: *bold*, _italic_, ~struck~, `fixed`, when they enclose text and stand at the edge of words.
const MARKS = /(^|[^\w*_~`])([*_~`])(?=\S)((?:(?!\2)[^\n])*\S)\2(?![\w*_~`])/;
const TAGS = { "*": "strong", _: "em", "~": "s", "`": "code" };
const LINK = /https?:\/\/[^\s“”]+/;

function format(parent, text) {
  const link = LINK.exec(text);
  if (link) {
    format(parent, text.slice(0, link.index));
    const element = make("a", "", link[0]);
    element.href = link[0];
    element.target = "_blank";
    element.rel = "noreferrer";
    parent.append(element);
    return format(parent, text.slice(link.index + link[0].length));
  }
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
  element.dataset.sid = message.sid;
  element.setAttribute("aria-label", message.mine ? `${phone.name} wrote` : "Counterfoil wrote");
  const box = make("div", "bubble");
  if (message.sms) box.append(make("span", "quote", "SMS"));
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

function screenOf(phone) {
  if (screens.has(phone.address)) return screens.get(phone.address);
  const screen = $("phone").content.cloneNode(true).firstElementChild;
  screen.setAttribute("aria-label", `The phone of ${phone.name}`);
  screen.querySelector(".owner").textContent = phone.name;
  screen.querySelector(".composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = screen.querySelector(".text");
    const text = field.value;
    field.value = "";
    if (text.trim()) post(phone, "say", { text });
  });
  for (const hint of screen.querySelectorAll("[data-word]")) {
    hint.addEventListener("click", () => {
      const field = screen.querySelector(".text");
      field.value = hint.dataset.word;
      field.focus();
    });
  }
  const deeds = { answer: {}, machine: { machine: true }, silence: {}, decline: {}, "hang-up": {} };
  for (const [name, body] of Object.entries(deeds)) {
    screen.querySelector(`.${name}`).addEventListener("click", () => {
      const call = currentCall(phone);
      if (name === "hang-up" && call && !call.talks) {
        closedCalls.add(call.sid);
        return show();
      }
      post(phone, name === "machine" ? "answer" : name, body);
    });
  }
  for (const key of "123456789*0#") {
    const button = make("button", "", key);
    button.type = "button";
    button.addEventListener("click", () => post(phone, "press", { keys: key }));
    screen.querySelector(".keys").append(button);
  }
  screens.set(phone.address, screen);
  return screen;
}

const currentCall = (phone) => state.phones.find((other) => other.address === phone.address).call;

function showCall(phone, screen) {
  const panel = screen.querySelector(".call");
  const call = phone.call;
  panel.hidden = !call || closedCalls.has(call.sid) || (!call.rings && !call.talks && !call.said.length);
  if (panel.hidden) return;
  const stands = { ringing: "is calling", queued: "is calling", "in-progress": "in a call", completed: "call ended" };
  panel.querySelector(".caller").textContent = `Counterfoil, ${call.from}`;
  panel.querySelector(".stands").textContent = call.error || stands[call.status] || call.status;
  const speech = panel.querySelector(".speech");
  if (speech.children.length > call.said.length || speech.dataset.sid !== call.sid) speech.replaceChildren();
  speech.dataset.sid = call.sid;
  for (const text of call.said.slice(speech.children.length)) speech.append(make("p", "", `“${text}”`));
  speech.scrollTop = speech.scrollHeight;
  panel.querySelector(".pressed").textContent = call.keys ? call.pressed.padEnd(call.keys, "·") : "";
  panel.querySelector(".keys").hidden = !call.keys;
  for (const name of ["answer", "machine", "decline"]) panel.querySelector(`.${name}`).hidden = !call.rings;
  panel.querySelector(".silence").hidden = !call.keys;
  panel.querySelector(".hang-up").hidden = call.rings;
  panel.querySelector(".hang-up").textContent = call.talks ? "Hang up" : "Back to the messages";
}

function showConversation(phone, screen) {
  const list = screen.querySelector(".messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const standing = new Map([...list.children].map((element) => [element.dataset.sid, element]));
  let added = false;
  for (const message of phone.messages) {
    const element = standing.get(message.sid);
    if (!arrived(message)) {
      if (element) element.remove();
      continue;
    }
    if (!element) {
      list.append(bubble(phone, message));
      added = true;
    }
    if (message.mine && message.reply_to) markChosen(list, message.reply_to, message.body);
  }
  if (added && atEnd) list.scrollTop = list.scrollHeight;
}

function markChosen(list, sid, title) {
  const original = [...list.children].find((element) => element.dataset.sid === sid);
  if (!original) return;
  for (const button of original.querySelectorAll(".choices button")) {
    if (button.textContent === title) button.classList.add("chosen");
  }
}

function showPeople(current) {
  const list = $("people");
  const focused = document.activeElement && document.activeElement.dataset.name;
  const everybody = make("button", "everybody", "All side by side");
  everybody.type = "button";
  everybody.dataset.name = ALL;
  everybody.setAttribute("aria-pressed", String(wanted() === ALL));
  everybody.addEventListener("click", () => { location.hash = ALL; });
  list.replaceChildren(...state.phones.map((phone) => {
    const button = make("button", phone.call && phone.call.rings ? "person rings" : "person");
    button.type = "button";
    button.dataset.name = phone.name;
    button.setAttribute("aria-pressed", String(wanted() !== ALL && phone === current));
    const initial = make("span", "initial", phone.name[0]);
    initial.setAttribute("aria-hidden", "true");
    const about = [phone.number, phone.online ? "" : "no signal", phone.refuses ? `refused ${phone.refuses}` : ""];
    button.append(initial, make("span", "", phone.name), make("small", "", about.filter(Boolean).join(", ")));
    const shown = wanted() === ALL || phone === current;
    const unread = shown ? 0 : phone.messages.filter((m) => arrived(m) && isUnread(m)).length;
    if (unread) {
      const badge = make("span", "unread", String(unread));
      badge.setAttribute("aria-label", `${unread} unread`);
      button.append(badge);
    }
    button.addEventListener("click", () => { location.hash = phone.name; });
    return button;
  }), everybody);
  if (focused !== undefined) {
    const again = [...list.children].find((button) => button.dataset.name === focused);
    if (again) again.focus();
  }
}

function showTricks(phone) {
  const several = wanted() === ALL;
  $("whose").textContent = several ? "Choose one phone for the first three." : `The phone of ${phone.name} (SIM ${phone.identity}):`;
  $("one").disabled = several;
  $("signal").checked = phone.online;
  $("refuse").value = String(phone.refuses || "");
  $("twice").checked = state.twice;
  $("late").checked = state.late > 0;
}

function show() {
  const current = selected();
  if (!current) return;
  showPeople(current);
  showTricks(current);
  const shown = wanted() === ALL ? state.phones : [current];
  const places = shown.map(screenOf);
  const standing = [...$("phones").children];
  if (places.length !== standing.length || places.some((screen, at) => screen !== standing[at])) {
    $("phones").replaceChildren(...places);
    for (const screen of places) screen.querySelector(".messages").scrollTop = 1e9;
  }
  $("phones").classList.toggle("several", shown.length > 1);
  document.title = wanted() === ALL ? "Counterfoil demo phones" : `${current.name}: Counterfoil demo phone`;
  for (const phone of shown) {
    const screen = screenOf(phone);
    screen.querySelector(".service").textContent = state.service;
    showLine(phone, screen);
    showConversation(phone, screen);
    showCall(phone, screen);
    const fresh = phone.messages.some((message) => message.status === "delivered" && !message.mine);
    if (fresh && document.visibilityState === "visible" && !reading.has(phone.address)) {
      reading.add(phone.address);
      post(phone, "read", {}).finally(() => reading.delete(phone.address));
    }
  }
}

function showLine(phone, screen) {
  const line = screen.querySelector(".line");
  line.textContent = !connected ? "offline" : phone.online ? "online" : "no signal";
  line.classList.toggle("up", connected && phone.online);
}

async function send(address, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  try {
    const answer = await fetch(address, options);
    const result = await answer.json();
    return answer.ok ? { status: result.status } : { trouble: result.error };
  } catch {
    return { trouble: "The demo does not answer. Is it still running?" };
  }
}

async function post(phone, deed, body) {
  const result = await send(`/phones/${encodeURIComponent(phone.address)}/${deed}`, body);
  let trouble = result.trouble || "";
  if (!trouble && (deed === "say" || deed === "tap") && result.status !== 204) {
    const online = state.phones.find((other) => other.address === phone.address).online;
    if (result.status) trouble = `Counterfoil answered ${result.status}.`;
    else trouble = online ? "Nobody took this message." : "No signal: it is sent once there is one.";
  }
  if (deed !== "read" || trouble) screenOf(phone).querySelector(".trouble").textContent = trouble;
}

async function tap(phone, message, button) {
  button.disabled = true;
  await post(phone, "tap", { text: button.textContent, sid: message.sid });
  button.disabled = false;
}

$("people").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const names = [...state.phones.map((phone) => phone.name), ALL];
  const at = names.indexOf(document.activeElement.dataset.name);
  if (!step || at < 0) return;
  event.preventDefault();
  $("people").children[(at + step + names.length) % names.length].focus();
});
$("signal").addEventListener("change", () => post(selected(), "signal", { on: $("signal").checked }));
$("refuse").addEventListener("change", () => post(selected(), "refuse", { code: Number($("refuse").value) || null }));
$("sim").addEventListener("click", () => post(selected(), "sim", {}));
for (const id of ["twice", "late"]) {
  $(id).addEventListener("change", () => send("/network", { twice: $("twice").checked, late: $("late").checked ? 5 : 0 }));
}
addEventListener("hashchange", show);
document.addEventListener("visibilitychange", show);

const events = new EventSource("events");
events.onopen = () => { connected = true; show(); };
events.onerror = () => { connected = false; show(); };
events.onmessage = (event) => { state = JSON.parse(event.data); show(); };
