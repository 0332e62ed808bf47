// The session cookie: how it is found in a request, and how it is written. Nothing here knows what a session is.

/** How the cookie is written. The defaults are those of a site that is served over HTTPS alone. */
export interface CookieOptions {
  /** Default `__Host-sid` where `secure` is true and neither `domain` nor another `path` is given, else `sid`. */
  name?: string;
  /**
   * Default true: the browser sends the cookie over HTTPS only. Chromium takes `http://localhost` for as good; a browser that does not keeps
   * no cookie there. `false` is for trying out over plain HTTP: whoever is on the way can then read the session id. The attribute does not
   * depend on how the request came: behind a proxy that ends TLS it is right all the same.
   */
  secure?: boolean;
  /** Default `lax`. `none` needs `secure` and lets other sites send requests with the session: check `Origin`. */
  sameSite?: 'lax' | 'strict' | 'none';
  /** Default `/`. */
  path?: string;
  /** Default: the host alone. With a domain every host below it is sent the session id, and may write it. */
  domain?: string;
  /** True: the cookie outlives the browser, until the session's absolute expiry. Default false: it ends with the browser. */
  persistent?: boolean;
}

/** The options with their defaults, checked. */
export interface CookieSettings {
  name: string;
  attributes: string;
  persistent: boolean;
}

/** What a browser's `Cookie` has under a name. */
export type FoundCookie = {kind: 'none'} | {kind: 'one'; value: string} | {kind: 'several'};

/** RFC 9110, 5.6.2: what the name of a cookie is made of. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What an attribute may hold: no control characters, no `;`, and nothing past ASCII. */
const attributeText = /^[\x20-\x3a\x3c-\x7e]+$/;

/** @throws TypeError for what no browser would keep, or what says less than it seems to */
export function cookieSettings(options: CookieOptions = {}): CookieSettings {
  const {secure = true, sameSite = 'lax', path = '/', domain, persistent = false} = options;
  const name = options.name ?? (secure && path === '/' && domain === undefined ? '__Host-sid' : 'sid');
  if (typeof name !== 'string' || !token.test(name)) throw new TypeError('cookie.name: not the name of a cookie (RFC 6265)');
  if (typeof secure !== 'boolean') throw new TypeError('cookie.secure is true or false');
  if (typeof persistent !== 'boolean') throw new TypeError('cookie.persistent is true or false');
  if (!['lax', 'strict', 'none'].includes(sameSite)) throw new TypeError('cookie.sameSite is "lax", "strict" or "none"');
  if (sameSite === 'none' && !secure) throw new TypeError('cookie.sameSite "none" needs secure: browsers refuse it otherwise');
  if (!path.startsWith('/') || !attributeText.test(path)) throw new TypeError('cookie.path begins with "/" and has no ";"');
  if (domain !== undefined && !/^[A-Za-z0-9.-]+$/.test(domain)) throw new TypeError('cookie.domain is the name of a host');
  // Browsers compare the prefixes without regard to case.
  const lower = name.toLowerCase();
  if (lower.startsWith('__host-') && (!secure || path !== '/' || domain !== undefined)) {
    throw new TypeError('cookie.name: "__Host-" needs secure, path "/" and no domain');
  }
  if (lower.startsWith('__secure-') && !secure) throw new TypeError('cookie.name: "__Secure-" needs secure');
  const site = {lax: 'Lax', strict: 'Strict', none: 'None'}[sameSite];
  const attributes = `; Path=${path}${domain === undefined ? '' : `; Domain=${domain}`}; HttpOnly${secure ? '; Secure' : ''}; SameSite=${site}`;
  return {name, attributes, persistent};
}

/** A `Set-Cookie` line. `maxAgeS` absent: the cookie ends with the browser. */
export function writeCookie(settings: CookieSettings, name: string, value: string, maxAgeS?: number): string {
  return `${name}=${value}${settings.attributes}${maxAgeS === undefined ? '' : `; Max-Age=${Math.max(0, Math.floor(maxAgeS))}`}`;
}

/** The `Set-Cookie` line that takes it away. */
export function clearCookie(settings: CookieSettings, name: string): string {
  return `${name}=${settings.attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT`;
}

/**
 * Looks for a cookie in the field `Cookie` (RFC 6265, 5.4). Two cookies of the name with different values are `several`, and the caller
 * has to refuse them: browsers send the one with the longer path first, and a neighbouring subdomain can write one with any path, so
 * neither "first" nor "last" is the application's own (RFC 6265, 8.6). The server's forward-auth does the same. The same value twice is one.
 */
export function findCookie(header: string | undefined, name: string): FoundCookie {
  if (header === undefined) return {kind: 'none'};
  let found: string | undefined;
  // Kept from part to part, so that a field without "=" is not read to its end for each part.
  let equals = -1;
  for (let from = 0; from <= header.length;) {
    let end = header.indexOf(';', from);
    if (end < 0) end = header.length;
    if (equals < from) equals = header.indexOf('=', from);
    if (equals < 0) break;
    if (equals < end && trimmed(header, from, equals) === name) {
      const value = trimmed(header, equals + 1, end);
      if (found !== undefined && found !== value) return {kind: 'several'};
      found = value;
    }
    from = end + 1;
  }
  return found === undefined ? {kind: 'none'} : {kind: 'one', value: found};
}

/**
 * Without the blanks and tabs around it, and nothing else: String.trim() also takes U+00A0, and `\xa0__Host-sid`, which any subdomain may
 * write because it does not begin with the prefix, would pass for `__Host-sid`.
 */
function trimmed(text: string, from: number, to: number): string {
  const blank = (at: number): boolean => text.charCodeAt(at) === 0x20 || text.charCodeAt(at) === 0x09;
  while (from < to && blank(from)) ++from;
  while (to > from && blank(to - 1)) --to;
  return text.slice(from, to);
}
