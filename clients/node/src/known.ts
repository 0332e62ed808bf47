// An option that nobody knows is a mistake: a misspelled `address` would otherwise mean this machine.

/** @throws TypeError that names the first option that is not in `known`. */
export function refuseUnknown(options: object, known: ReadonlySet<string>): void {
  for (const name of Object.keys(options)) if (!known.has(name)) throw new TypeError(`there is no option "${name}"`);
}
