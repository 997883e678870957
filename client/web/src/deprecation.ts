/** Former names of options and events: they still work, and each warns once at the console. */

const warned = new Set<string>();

/** Warn that the application uses `old`; further uses in this page are silent. */
export function warnRenamed(old: string, now: string): void {
  if (!warned.has(old)) {
    warned.add(old);
    console.warn(`${old} is deprecated: use ${now}`);
  }
}
