#include "store/fleet/scripts.hpp"

namespace portcullis::store::fleet {
namespace {

// KEYS: log, users, fences. ARGV: from, the writer's generation, names of units that it gave up,
// then a unit after the other: name, as_of, kind, count, writes, reads, sealed, rows, (subject,
// row) each, forgotten. Kind: `checked`; `told`, which has happened and is never refused; `exact`,
// alone, which is refused unless the log ends at as_of.
//
// Which units may be appended is the only thing that is decided here, and it is no policy: a unit
// is refused when an entry that its decision did not know of wrote what it rests on. `from` is the
// smallest as_of, and not later than what a unit that is sent again was first sent at: what stands
// behind it is looked through once. A writer's own entries overtake nothing, since it knows what it
// decides; but those that it gave up do: it decided on without them.
//
// A generation lower than the writer's fence is of a connection that it has left: what comes late
// that way would come behind what was decided since.
//
// Where the log always goes on, nobody would ever know its end: a refused `exact` unit keeps all
// others back for some time, so that its writer can read to the end and ask again.
//
// Answer: the log's end before, then one number a unit: the seq of its last event; 0: refused, its
// decision is out of date. {-1, end}: the log ends before what the caller has seen of it.
// {-2, end}: too much stands behind `from` to look through; the caller catches up first. {-3, end}:
// fenced off. {-4, end}: not now: an `exact` unit of a writer comes first.
constexpr const char* append_text = R"lua(
local log, users, fences = KEYS[1], KEYS[2], KEYS[3]
local from = tonumber(ARGV[1])
local function number_of(id) return tonumber(string.match(id, '^%d+')) end
local function id_of(seq) return string.format('%.0f-0', seq) end
local head = 0
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
local before = ''
if last[1] then head, before = number_of(last[1][1]), last[1][2][2] end
if head < from then return {-1, head} end
local written, known, given_up, own = {}, {}, {}, string.sub(ARGV[4], 1, 8)
if tonumber(ARGV[2]) < tonumber(redis.call('HGET', fences, own) or '0') then return {-3, head} end
local exact = ARGV[6] == 'exact'
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local quiet = redis.call('HGET', fences, 'quiet')
if quiet then
  local left = tonumber(string.sub(quiet, 9)) - now_ms()
  if not exact and left > 0 and left <= 100 then return {-4, head} end
  if not exact or string.sub(quiet, 1, 8) == own then redis.call('HDEL', fences, 'quiet') end
end
if exact and head ~= tonumber(ARGV[5]) and not quiet then
  redis.call('HSET', fences, 'quiet', own .. string.format('%.0f', now_ms() + 100))
end
for at = 1, #ARGV[3], 16 do given_up[string.sub(ARGV[3], at, at + 15)] = true end
if head > from then
  local since = redis.call('XRANGE', log, id_of(from + 1), '+', 'COUNT', 4096)
  if #since == 4096 then return {-2, head} end
  for _, entry in ipairs(since) do
    local seq, fields = number_of(entry[1]), entry[2]
    local name, writes = fields[2], fields[6]
    if string.sub(name, 1, 8) == own and not given_up[name] then
      known[name] = seq
    else
      for at = 1, #writes, 8 do written[string.sub(writes, at, at + 7)] = seq end
    end
  end
end
local function overtaken(tags, as_of)
  for at = 1, #tags, 8 do
    local seq = written[string.sub(tags, at, at + 7)]
    if seq and seq > as_of then return true end
  end
  return false
end
local answer = {head}
local at = 4
while at <= #ARGV do
  local name, as_of, kind = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local count, writes, reads = tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5]
  local sealed, rows = ARGV[at + 6], tonumber(ARGV[at + 7])
  local first_row = at + 8
  local forgotten = ARGV[first_row + 2 * rows]
  if known[name] then
    answer[#answer + 1] = known[name]
  elseif kind == 'exact' and head ~= as_of or
         kind ~= 'told' and (overtaken(writes, as_of) or overtaken(reads, as_of)) then
    answer[#answer + 1] = 0
  else
    local subjects = ''
    for row = 0, rows - 1 do
      local subject = ARGV[first_row + 2 * row]
      redis.call('HSET', users, subject, ARGV[first_row + 2 * row + 1])
      subjects = subjects .. subject
    end
    if forgotten ~= '' then redis.call('HDEL', users, forgotten) end
    head = head + count
    redis.call('XADD', log, id_of(head), 'w', name, 'n', count, 'k', writes, 'u', subjects,
               'p', before, 'b', sealed)
    before = name
    answer[#answer + 1] = head
  end
  at = first_row + 2 * rows + 1
end
return answer
)lua";

// KEYS: fences, log. ARGV: the writer, its generation, up to where it has read, the name of the
// entry that ends there (or empty). From now on nothing of lower generations is appended. Answer:
// the log's end; -1: another entry stands there.
constexpr const char* fence_text = R"lua(
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local there = redis.call('XRANGE', KEYS[2], ARGV[3] .. '-0', '+', 'COUNT', 1)[1]
if ARGV[4] ~= '' and not (there and there[2][2] == ARGV[4]) then return -1 end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if last[1] then return tonumber(string.match(last[1][1], '^%d+')) end
return 0
)lua";

// What the log is: format, check value, the snapshot's seq (or empty), the log's first and last seq
// (0: empty), its name, the ring, the name of the entry in which `position` stands (or empty), up
// to where it was moved there (or empty); nothing: there is none. A log is named by when it began.
constexpr const char* look_text = R"lua(
local function look(meta, log, position)
  local known = redis.call('HMGET', meta, 'format', 'check', 'snapshot', 'name', 'ring', 'moved')
  if not known[1] then return {} end
  local function number_of(entry)
    if entry[1] then return tonumber(string.match(entry[1][1], '^%d+')) end
    return 0
  end
  local at = redis.call('XRANGE', log, position .. '-0', '+', 'COUNT', 1)
  return {known[1], known[2] or '', known[3] or '',
          number_of(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)),
          number_of(redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)), known[4] or '',
          known[5] or '', at[1] and at[1][2][2] or '', known[6] or ''}
end
)lua";

// KEYS: nodes, fences, log, users, meta. ARGV: the node's key, what it tells, the time until keys
// go (ms), the time after which a node is forgotten (ms), up to where the node has read. Times are
// this server's. Answer: the server's time (ms), what the log is, then of each node: key, when it
// told last, what.
constexpr const char* heartbeat_text = R"lua(
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
local snapshot = redis.call('HGET', KEYS[5], 'snapshot')
if snapshot then
  redis.call('PEXPIRE', (string.gsub(KEYS[5], 'meta$', 'snapshot:' .. snapshot)), ARGV[3])
end
local answer = {now, look(KEYS[5], KEYS[3], ARGV[5])}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local told, what = string.match(all[at + 1], '^(%d+) (.*)$')
  if now - tonumber(told) > tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[1], all[at])
    redis.call('HDEL', KEYS[2], all[at])
  else
    answer[#answer + 1] = all[at]
    answer[#answer + 1] = tonumber(told)
    answer[#answer + 1] = what
  end
end
return answer
)lua";

// KEYS: meta, log, nodes. ARGV: the format of entries, the key file's check value, whether to make
// it where it is not there, the time until keys go (ms), the ring, for which one (or empty) it is
// to be taken, if no node has told of itself for so long (ms), up to where the node has read.
// Answer: what the log is.
constexpr const char* hello_text = R"lua(
if redis.call('EXISTS', KEYS[1]) == 0 then
  if ARGV[3] ~= '1' then return {} end
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'check', ARGV[2], 'name', now[1] .. '.' .. now[2],
             'ring', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if ARGV[6] ~= '' and redis.call('HGET', KEYS[1], 'ring') == ARGV[6] then
  local time = redis.call('TIME')
  local lived = tonumber(time[1]) * 1000 - tonumber(ARGV[7])
  local nobody = true
  for _, told in ipairs(redis.call('HVALS', KEYS[3])) do
    if tonumber(string.match(told, '^%d+')) > lived then nobody = false end
  end
  if nobody then redis.call('HSET', KEYS[1], 'ring', ARGV[5]) end
end
return look(KEYS[1], KEYS[2], ARGV[8])
)lua";

// KEYS: users. ARGV: whose row, what it was, what it is to be. Nothing where it is another by now.
constexpr const char* replace_text = R"lua(
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
)lua";

// KEYS: meta, log, the new snapshot, its name from here on. ARGV: its seq, the time until keys go
// (ms). A snapshot takes the place of the events up to its seq; the entry that ends there stays:
// the log is never empty, and who has read up to there sees that it is the same one. Answer:
// whether it does; 0: there is one of as much, or more.
constexpr const char* cut_text = R"lua(
local before = tonumber(redis.call('HGET', KEYS[1], 'snapshot') or '0')
if before >= tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[3])
  return 0
end
redis.call('RENAME', KEYS[3], KEYS[4])
redis.call('PEXPIRE', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[1], 'snapshot', ARGV[1])
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', tonumber(ARGV[1])))
if before > 0 then
  redis.call('DEL', (string.gsub(KEYS[4], ':[0-9]+$', string.format(':%.0f', before))))
end
return 1
)lua";

}  // namespace

const net::redis::script& cut_script() {
  static const auto made = net::redis::script::of(cut_text);
  return made;
}
const net::redis::script& replace_script() {
  static const auto made = net::redis::script::of(replace_text);
  return made;
}
const net::redis::script& append_script() {
  static const auto made = net::redis::script::of(append_text);
  return made;
}
const net::redis::script& fence_script() {
  static const auto made = net::redis::script::of(fence_text);
  return made;
}
const net::redis::script& heartbeat_script() {
  static const auto made = net::redis::script::of(std::string(look_text) + heartbeat_text);
  return made;
}
const net::redis::script& hello_script() {
  static const auto made = net::redis::script::of(std::string(look_text) + hello_text);
  return made;
}

}  // namespace portcullis::store::fleet
