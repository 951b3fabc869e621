// What helps and is never needed: pages do without. Nothing here decides anything.
"use strict";

for (const field of document.querySelectorAll("input[data-show]")) {
  const button = document.createElement("button");
  const label = document.querySelector(`label[for="${field.id}"]`);
  const say = () => {
    const shown = field.type === "text";
    button.textContent = shown ? field.dataset.hide : field.dataset.show;
    button.setAttribute("aria-pressed", String(shown));
  };
  button.type = "button";
  button.className = "peek";
  button.setAttribute("aria-controls", field.id);
  button.setAttribute("aria-describedby", label.id = `${field.id}-label`);
  button.addEventListener("click", () => {
    field.type = field.type === "text" ? "password" : "text";
    say();
    field.focus();
  });
  say();
  const frame = document.createElement("div");
  frame.className = "peeked";
  field.replaceWith(frame);
  frame.append(field, button);
  if (field.autofocus) field.focus();
  // A password never leaves in a field that browsers remember.
  field.form.addEventListener("submit", () => { field.type = "password"; });
}
