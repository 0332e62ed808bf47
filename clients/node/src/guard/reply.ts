// What the guard writes to of an answer, whatever the framework, and the fields of it that it shares with the application. Pure.

/** What the guard writes to of an answer. Once the answer has begun nothing of it does anything. */
export interface ReplyPort {
  readonly headersSent: boolean;
  /** Sets one cookie; what was set under its name before is replaced, other cookies stay. */
  setCookie(name: string, line: string): void;
  /** The answer belongs to one user: no cache may keep it, unless the handler says otherwise later. */
  noStore(): void;
  /** The browser forgets the pages that it keeps of this origin. */
  dropCache(): void;
}

/** What a framework has of a field: `getHeader` of Node and of Fastify. */
type FieldValue = number | string | readonly string[] | undefined;

/** The lines of `Set-Cookie` with this one, in place of an earlier one of its name. */
export function withCookie(before: FieldValue, name: string, line: string): string[] {
  const lines = before === undefined ? [] : typeof before === 'object' ? before : [String(before)];
  return [...lines.filter((each) => !each.startsWith(`${name}=`)), line];
}

/** `Vary` with `Cookie` beside what is there; undefined where it says so already. */
export function varyWithCookie(before: FieldValue): string | undefined {
  const text = String(before ?? '');
  if (text === '*' || /(?:^|,)\s*cookie\s*(?:,|$)/i.test(text)) return undefined;
  return text === '' ? 'Cookie' : `${text}, Cookie`;
}
