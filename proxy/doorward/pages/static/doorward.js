// What helps and is never needed: pages do without. Nothing here decides anything.
"use strict";

// No server ever gets what stands behind # in an address, but browsers carry it along redirects:
// from the page that was wanted to this one, and from where this one leads back to that page.
if (location.hash) {
  for (const way of document.querySelectorAll("[data-onward]")) {
    const name = way.localName === "form" ? "action" : "href";
    way.setAttribute(name, way.getAttribute(name) + location.hash);
  }
}

for (const field of document.querySelectorAll("input[data-show]")) {
  const button = document.createElement("button");
  const label = document.querySelector(`label[for="${field.id}"]`);
  const say = () => {
    button.textContent = field.type === "text" ? field.dataset.hide : field.dataset.show;
  };
  button.type = "button";
  button.className = "peek";
  button.setAttribute("aria-controls", field.id);
  button.setAttribute("aria-describedby", label.id = `${field.id}-label`);
  button.addEventListener("click", (click) => {
    field.type = field.type === "text" ? "password" : "text";
    say();
    // Not by keyboard, or the next press of the space bar would become part of the password.
    if (click.detail) field.focus();
  });
  say();
  field.after(button);
  // A password never leaves in a field that browsers remember.
  field.form.addEventListener("submit", () => { field.type = "password"; });
}

for (const time of document.querySelectorAll("time[datetime]")) {
  time.title = new Date(time.dateTime).toLocaleString(document.documentElement.lang);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue; // only where the page came over https
  button.hidden = false;
  button.addEventListener("click", async () => {
    const items = document.querySelectorAll(`#${button.dataset.copy} li`);
    await navigator.clipboard.writeText([...items].map((one) => one.textContent.trim()).join("\n"));
    button.textContent = button.dataset.done;
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

for (const field of document.querySelectorAll("input[data-judge]")) {
  const hint = document.getElementById("hint");
  let waiting;
  const judge = async () => {
    const asked = field.value;
    const body = new URLSearchParams({ form: field.form.elements.form.value, new: asked });
    const answer = await fetch(field.dataset.judge, { method: "POST", body });
    if (!answer.ok || asked !== field.value) return;
    const said = await answer.json();
    hint.textContent = said.hint;
    hint.dataset.score = said.score;
  };
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    hint.textContent = "";
    delete hint.dataset.score;
    if (field.value) waiting = setTimeout(() => judge().catch(() => {}), 400);
  });
}

// A form that asks nothing: its button is there for browsers without script.
for (const form of document.querySelectorAll("form[data-submit]")) form.submit();
