/**
 * Client of Portcullis for Node.
 * @packageDocumentation
 */
export {PortcullisClient, Sessions, Lockouts, Breakers, Events, Server, Admin} from './portcullis.js';
export type {ClientEvents, ClientStats} from './engine.js';
export type {CallOptions, ClientOptions} from './options.js';
export type {TlsOptions} from './connection.js';
export {EventStream, type CursorAndEvent, type SubscribeOptions} from './events.js';
export {PortcullisError, isPortcullisError, clientErrors} from './errors.js';
export type {ClientErrorName, ErrorBody, ErrorDetails, ErrorFields, ErrorName, Severity} from './errors.js';
export {serverErrors, type ServerErrorName} from './generated/errors.js';
export {contextReader, type ContextField, type ContextOf, type ContextOptions} from './http/context.js';
export {breaker, Breaker, type BreakerEvents, type BreakerJson, type BreakerOptions} from './breaker/breaker.js';
export {BreakerOpenError, isBreakerError, type BreakerErrorCode} from './breaker/errors.js';
export {observe, type Observation, type ObserveOptions, type ObservedBreaker} from './breaker/observe.js';
export type {Settings as BreakerSettings} from './breaker/options.js';
export type {Bucket, Stats, Status} from './breaker/window.js';
export type * from './types.js';
