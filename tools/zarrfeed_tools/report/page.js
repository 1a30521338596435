// Masks over pictures: each picture is a button, and one button is for all of them.
"use strict";
const thumbs = [...document.querySelectorAll("button.thumb")];
const all = document.getElementById("all-masks");

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

function isPressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

for (const thumb of thumbs) {
  thumb.addEventListener("click", () => {
    press(thumb, !isPressed(thumb));
    if (all) press(all, thumbs.some(isPressed));
  });
}

if (all) {
  all.hidden = false;
  all.addEventListener("click", () => {
    const pressed = !isPressed(all);
    press(all, pressed);
    for (const thumb of thumbs) press(thumb, pressed);
  });
}
