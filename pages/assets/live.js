// Every page: keeps ages up to date, and asks before actions that cannot be undone. Without scripts the pages still work.
"use strict";

function duration(seconds) {
  const shown = Math.max(0, seconds);
  if (shown < 100) return `${shown.toFixed(0)} s`;
  if (shown < 6000) return `${(shown / 60).toFixed(0)} min`;
  return shown < 172800 ? `${(shown / 3600).toFixed(1)} h` : `${(shown / 86400).toFixed(0)} d`;
}

function age(root = document) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-fixed])")) {
    const text = `${duration((Date.now() - Date.parse(time.dateTime)) / 1000)} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
setInterval(age, 1000);
