// One ratio: its picture with what was kept, its figures and its conversation.

import { clear, describe, describeToken, draw, tokenAt } from "./overlay.js";
import { show } from "./words.js";

export class Panel {
  constructor(template, place) {
    this.element = template.content.firstElementChild.cloneNode(true);
    place.append(this.element);
    this.canvas = this.element.querySelector("canvas");
    this.title = this.element.querySelector("h2");
    this.figures = this.element.querySelector("dl");
    this.turns = this.element.querySelector(".turns");
    this.token = this.element.querySelector(".token");
    this.views = [...this.element.querySelectorAll("[data-view]")];
    this.view = "kept";
    this.selection = this.picture = null;
    this.forget();
    this.listen();
  }

  listen() {
    for (const button of this.views) {
      button.addEventListener("click", () => {
        this.view = button.dataset.view;
        for (const one of this.views) one.setAttribute("aria-pressed", String(one === button));
        this.draw();
      });
      for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => this.draw(button.dataset.view));
      for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => this.draw());
    }
    this.canvas.addEventListener("pointermove", (event) => {
      const token = this.selection?.kept ? tokenAt(this.canvas, this.selection, event) : null;
      if (token !== null) this.token.textContent = describeToken(this.selection, token);
    });
  }

  // A new conversation: nothing was said yet.
  forget() {
    this.messages = [];
    this.turns.replaceChildren();
    this.figures.replaceChildren();
  }

  set ratio(ratio) {
    this.title.textContent = `Keep ratio ${ratio}`;
  }

  showPicture(picture) {
    this.picture = picture;
    this.selection = null;
    this.draw();
    this.canvas.setAttribute("aria-label", "No selection yet");
  }

  showSelection(document) {
    this.selection = document.pictures[0] ?? null;
    this.draw();
    this.canvas.setAttribute("aria-label", this.selection ? describe(this.selection) : "No picture");
    for (const button of this.views) {
      button.disabled = button.dataset.view !== "kept" && !this.selection?.[button.dataset.view];
    }
  }

  draw(view = this.view) {
    if (this.picture) draw(this.canvas, this.picture, this.selection, this.selection?.[view] ? view : "kept");
    else clear(this.canvas);
  }

  // Begins a turn; gives what adds to its answer.
  asked(question) {
    const [asked, said] = [document.createElement("p"), document.createElement("p")];
    asked.className = "asked";
    asked.textContent = question;
    said.className = "said";
    this.turns.append(asked, said);
    this.said = said;
    return (text) => said.append(text);
  }

  get text() {
    return this.said?.textContent ?? "";
  }

  mark(parts) {
    if (this.said) show(this.said, parts);
  }

  // figures: [name, value] pairs.
  tell(figures) {
    this.figures.replaceChildren(
      ...figures.flatMap(([name, value]) => {
        const [term, said] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = name;
        said.textContent = value;
        said.dataset.figure = name;
        return [term, said];
      }),
    );
  }
}
