// The part of a request that is the same however often it is sent: method and parameters as text.
import type {CallOptions} from './options.js';

/** `"method":...,"params":...` of a request. */
export function bodyOf(method: string, params: object | undefined, options: CallOptions | undefined): string {
  const meta = metaOf(options);
  const name = JSON.stringify(method);
  if (params === undefined && meta === undefined) return `"method":${name}`;
  return `"method":${name},"params":${JSON.stringify(meta === undefined ? params : {...params, _meta: meta})}`;
}

/** How deep the brackets of a request with this body nest, its own included; counting ends above `most`. */
export function depthOf(body: string, most: number): number {
  let depth = 1;
  let deepest = 1;
  let inText = false;
  for (let i = 0; i < body.length && deepest <= most; ++i) {
    const at = body.charCodeAt(i);
    if (inText) {
      if (at === 0x5c) ++i;
      else if (at === 0x22) inText = false;
    } else if (at === 0x22) {
      inText = true;
    } else if (at === 0x7b || at === 0x5b) {
      deepest = Math.max(deepest, ++depth);
    } else if (at === 0x7d || at === 0x5d) {
      --depth;
    }
  }
  return deepest;
}

/** `_meta` of a request, where there is any. */
export function metaOf(options: CallOptions | undefined): object | undefined {
  if (options?.correlationId === undefined && options?.traceparent === undefined) return undefined;
  return {correlation_id: options.correlationId, traceparent: options.traceparent};
}
