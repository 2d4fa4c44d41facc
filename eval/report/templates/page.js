"use strict";
for (const gallery of document.querySelectorAll(".gallery")) {
  const select = gallery.querySelector(".filter");
  select.parentElement.hidden = false;
  select.addEventListener("change", () => {
    for (const problem of gallery.querySelectorAll(".problem"))
      problem.hidden = select.value !== "" && !problem.dataset.choices.split(" ").includes(select.value);
  });
}

const tints = 6;
for (const replay of document.querySelectorAll(".replay")) {
  const steps = JSON.parse(replay.querySelector("script").textContent);
  const [button, slider, output] = ["button", "input", "output"].map(name => replay.querySelector(name));
  const canvas = replay.querySelector(".canvas");
  const length = 1 + Math.max(...steps.flat().map(([offset]) => offset));
  const show = () => {
    const shown = Number(slider.value), cells = Array(length).fill(null);
    for (let step = 0; step < shown; step++)
      for (const [offset, text, kind] of steps[step]) cells[offset] = {text, kind, step};
    canvas.replaceChildren(...cells.map(cell => {
      const span = document.createElement("span");
      if (cell === null || cell.kind === 0) { span.className = "hidden"; span.textContent = "\u00a0"; return span; }
      span.textContent = cell.text;
      span.title = `step ${cell.step + 1}`;
      span.className = `t${Math.floor(cell.step * tints / steps.length)}`;
      span.classList.toggle("special", cell.kind === 2);
      span.classList.toggle("new", cell.step === shown - 1 && shown < steps.length);
      return span;
    }));
    output.textContent = `${shown} of ${steps.length}`;
  };
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (Number(slider.value) === steps.length) slider.value = 0;
    button.textContent = "Pause";
    timer = setInterval(() => { slider.value = Number(slider.value) + 1; show(); if (Number(slider.value) === steps.length) stop(); }, 200);
    show();
  });
  slider.addEventListener("input", show);
  button.parentElement.hidden = false;
  show();
}
