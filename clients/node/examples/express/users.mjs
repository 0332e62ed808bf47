// The demo's users: ada and bob, both with the password "portcullis". A real application has its own.
import {randomBytes, scrypt, timingSafeEqual} from 'node:crypto';
import {promisify} from 'node:util';

const hashOf = promisify(scrypt);
const bytes = 32;

async function newUser(password) {
  const salt = randomBytes(16);
  return {salt, hash: await hashOf(password, salt, bytes)};
}

const users = new Map([
  ['ada', await newUser('portcullis')],
  ['bob', await newUser('portcullis')],
]);
/** Compared with where there is no such user, so that the time taken does not tell which names exist. */
const nobody = await newUser(randomBytes(16));

/** Whether the password is the user's. */
export async function isPassword(name, password) {
  const user = users.get(name) ?? nobody;
  return timingSafeEqual(await hashOf(password, user.salt, bytes), user.hash) && users.has(name);
}
