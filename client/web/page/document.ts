/** The page's elements by their id, typed; one that is missing is a mistake in `index.html`. */

export function part<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id ${id}`);
  return found;
}

export function make(tag: keyof HTMLElementTagNameMap, classes: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  made.className = classes;
  made.textContent = text;
  return made;
}

/** Write only what changed: a screen reader announces each write. */
export function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
