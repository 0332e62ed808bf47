#include "store/fleet/decoder.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/limits.hpp"

namespace portcullis::store::fleet {
namespace {

using net::redis::reply;
using net::redis::reply_type;

core::error damaged(std::string_view rule) {
  return core::fail(core::error_code::STORE_INTEGRITY, {}, rule);
}

template <class Int>
bool parse(std::string_view text, Int& to) {
  const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), to);
  return failed == std::errc{} && at == text.data() + text.size();
}

struct fields {
  std::uint64_t seq = 0, count = 0;
  core::entry_name name;
  std::string_view writes, subjects, before, sealed;
};

/// [id, [w, name, n, count, k, tags, u, subjects, p, name before, b, sealed]], as the script writes
/// them.
std::optional<fields> fields_of(const reply& element) {
  constexpr std::string_view names[] = {"w", "n", "k", "u", "p", "b"};
  if (!element.is(reply_type::array) || element.elements.size() != 2) return std::nullopt;
  const auto& [id, list] = std::tie(element.elements[0], element.elements[1]);
  if (!id.is(reply_type::text) || !list.is(reply_type::array) ||
      list.elements.size() != 2 * std::size(names))
    return std::nullopt;
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (list.elements[2 * i].text != names[i] || !list.elements[2 * i + 1].is(reply_type::text))
      return std::nullopt;
  const auto value = [&list](std::size_t i) -> std::string_view {
    return list.elements[2 * i + 1].text;
  };
  fields out;
  std::string_view seq = id.text;
  if (!seq.ends_with("-0") || !parse(seq.substr(0, seq.size() - 2), out.seq)) return std::nullopt;
  const auto name = core::parse_entry_name(value(0));
  if (!name || !parse(value(1), out.count) || out.count == 0 || out.count > out.seq)
    return std::nullopt;
  out.name = *name;
  out.writes = value(2);
  out.subjects = value(3);
  out.before = value(4);
  out.sealed = value(5);
  if (out.subjects.size() % sizeof(core::subject_id) != 0) return std::nullopt;
  return out;
}

constexpr std::string_view user_purpose = "portcullis fleet user\n";

template <class Int>
void append_int(std::string& to, Int value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    to.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i)));
}

}  // namespace

std::string seal_user(const core::user_row& row, const core::fleet_keys& keys,
                      const core::random_source& random) {
  std::string plain(core::as_text(row.lookup));
  append_int(plain, row.ring_key);
  append_int(plain, static_cast<std::uint32_t>(row.tenant_id.size()));
  plain += row.tenant_id;
  plain += row.wrapped;
  core::aead_nonce nonce;
  random(nonce);
  return core::seal(keys.of_users(), nonce, plain,
                    std::string(user_purpose) + std::string(core::as_text(row.subject.bytes)));
}

core::result<core::user_row> open_user(const core::subject_id& subject, std::string_view sealed,
                                       const core::fleet_keys& keys) {
  const auto plain =
      core::open(keys.of_users(), sealed,
                 std::string(user_purpose) + std::string(core::as_text(subject.bytes)));
  constexpr std::size_t head = 16 + 4 + 4;
  if (!plain || plain->size() < head) return damaged("user");
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
      value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>((*plain)[at + i])) << (8 * i);
    return value;
  };
  core::user_row row;
  row.subject = subject;
  std::memcpy(row.lookup.data(), plain->data(), row.lookup.size());
  row.ring_key = number(16);
  const auto tenant = number(20);
  if (tenant > plain->size() - head) return damaged("user");
  row.tenant_id = plain->substr(head, tenant);
  row.wrapped = plain->substr(head + tenant);
  return row;
}

// A line each: names have no line feeds.
std::string to_text(const member& who) {
  std::string out = who.node_id + "\n" + who.version + "\n";
  for (const auto number :
       {static_cast<std::uint64_t>(who.started_at_ms), who.position, who.sessions, who.connections})
    out += std::to_string(number) + "\n";
  return out;
}

std::optional<member> parse_member(std::string_view text) {
  std::array<std::string_view, 6> lines;
  for (auto& line : lines) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    line = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  member who;
  who.node_id = lines[0];
  who.version = lines[1];
  if (!parse(lines[2], who.started_at_ms) || !parse(lines[3], who.position) ||
      !parse(lines[4], who.sessions) || !parse(lines[5], who.connections))
    return std::nullopt;
  return who;
}

bool decoder::is_new(writer& of, std::uint64_t number) {
  if (number <= of.last) return of.not_seen.erase(number) > 0;
  // What a writer asked for before one began to read is not told from what is put there again.
  if (of.last == 0) {
    of.last = number;
    return true;
  }
  for (auto each = std::max(
           of.last + 1, number - std::min<std::uint64_t>(number, core::limits::fleet_not_seen_max));
       each < number; ++each)
    of.not_seen.insert(each);
  while (of.not_seen.size() > core::limits::fleet_not_seen_max)
    of.not_seen.erase(of.not_seen.begin());
  of.last = number;
  return true;
}

core::result<decoder::undecided> decoder::take(const reply& element) {
  const auto found = fields_of(element);
  if (!found) return damaged("entry");
  // An entry may reach over the place where one begins to read: what is known already is left out.
  const auto before = found->seq - found->count;
  if (found->seq <= position_ || before > position_ || (last_ && before != position_))
    return damaged("gap");
  if (last_ && found->before != core::to_bytes(*last_)) return damaged("entries_are_lost");
  auto known = writers_.find(found->name.writer);
  if (known == writers_.end()) {
    // Which writer is forgotten does not matter much: its entries cannot come next any more.
    if (writers_.size() >= core::limits::fleet_writers_max) writers_.erase(writers_.begin());
    known = writers_.emplace(found->name.writer, writer{keys_.of_writer(found->name.writer), 0, {}})
                .first;
  }
  if (!is_new(known->second, found->name.number)) return damaged("repeated");
  undecided out;
  out.what.last_seq = found->seq;
  out.what.count = found->count;
  out.what.name = found->name;
  out.what.own = is_known_ && is_known_(found->name);
  if (!out.what.own) {
    auto events = core::open_entry(found->sealed, found->count, out.what.first_seq(), found->name,
                                   {found->writes, found->subjects}, known->second.key);
    if (!events) return events.error();
    out.what.events = *std::move(events);
    out.what.events.erase(
        out.what.events.begin(),
        out.what.events.begin() + static_cast<std::ptrdiff_t>(position_ - before));
    out.what.count = out.what.events.size();
    for (std::size_t at = 0; at < found->subjects.size(); at += sizeof(core::subject_id)) {
      core::subject_id subject;
      std::memcpy(subject.bytes.data(), found->subjects.data() + at, sizeof subject);
      out.users.push_back(subject);
    }
  } else if (before != position_) {
    return damaged("gap");  // one's own are read whole
  }
  position_ = found->seq;
  last_ = found->name;
  return out;
}

}  // namespace portcullis::store::fleet
