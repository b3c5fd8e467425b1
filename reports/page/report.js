"use strict";
// Without this script everything is shown; with it, one moment at a time and a filter.
for (const select of document.querySelectorAll("select[data-maps]")) {
  const maps = document.getElementById(select.dataset.maps).children;
  const show = () => {
    for (const map of maps) map.hidden = select.value !== "all" && map.dataset.map !== select.value;
  };
  select.closest("label").hidden = false;
  select.addEventListener("change", show);
  show();
}
const filter = document.querySelector("form.filter");
if (filter) {
  const cases = [...document.querySelectorAll("details.case")];
  let texts;
  const apply = () => {
    texts ??= cases.map((item) => item.textContent.toLowerCase());
    const text = filter.elements.text.value.toLowerCase();
    const verdict = filter.elements.verdict.value;
    let shown = 0;
    cases.forEach((item, index) => {
      item.hidden = !texts[index].includes(text) || (verdict && item.dataset.verdict !== verdict);
      shown += item.hidden ? 0 : 1;
    });
    filter.querySelector("output").textContent = `${shown} of ${cases.length}`;
  };
  filter.hidden = false;
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.querySelector("output").textContent = `${cases.length} of ${cases.length}`;
}
// A link to what is folded or not chosen brings it to light.
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  target.hidden = false;
  const moments = target.closest("[data-map]");
  if (moments && moments.hidden) {
    const select = document.querySelector(`select[data-maps="${moments.parentElement.id}"]`);
    select.value = moments.dataset.map;
    select.dispatchEvent(new Event("change"));
  }
  for (let fold = target.parentElement; fold; fold = fold.parentElement) {
    if (fold.tagName === "DETAILS") fold.open = true;
  }
  if (target.tagName === "DETAILS") target.open = true;
  const inner = target.querySelector("details");
  if (inner && target.tagName === "TR") inner.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
