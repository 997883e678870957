/** A promise with a timeout that is resolved from outside. */
export class Settlement {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: unknown) => void;

  /** `missed` is called where nothing has come of it after `timeoutMs`. */
  constructor(timeoutMs: number, missed: () => void) {
    const timer = setTimeout(missed, timeoutMs);
    this.promise = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    }).finally(() => clearTimeout(timer));
    this.promise.catch(() => undefined);
  }
}
