#include "core/fleet/entry.hpp"

#include <cstring>

#include "core/event/codec.hpp"
#include "core/replay/canonical.hpp"

namespace portcullis::core {
namespace {

constexpr std::uint8_t format = 1;

template <class Int>
void append_big_endian(std::string& to, Int value) {
  for (std::size_t i = sizeof(Int); i > 0; --i)
    to.push_back(static_cast<char>(value >> (8 * (i - 1))));
}

/// What stands in clear is bound to what is sealed.
std::string purpose_of(const entry_name& name, std::uint64_t count, const entry_outside& outside) {
  std::string purpose = "portcullis fleet entry\n";
  purpose += to_bytes(name);
  append_big_endian(purpose, count);
  append_big_endian(purpose, static_cast<std::uint64_t>(outside.writes.size()));
  purpose += outside.writes;
  purpose += outside.subjects;
  return purpose;
}

/// What the tables behind the log need and the log does not hold.
template <class Extra>
void each_extra(event& of, Extra&& extra) {
  extra(of.session_seq);
  if (auto* created = std::get_if<session_created>(&of.body)) {
    extra(created->find_ip);
    extra(created->find_user_agent);
  } else if (auto* touched = std::get_if<session_touched>(&of.body)) {
    for (auto& each : touched->touches) extra(each.session_seq);
  }
}

[[nodiscard]] std::vector<std::uint64_t>* listed_seqs(event& of) {
  if (auto* revoked = std::get_if<session_revoked>(&of.body)) return &revoked->session_seqs;
  if (auto* forgotten = std::get_if<user_forgotten>(&of.body)) return &forgotten->session_seqs;
  return nullptr;
}

void put_event(canonical_writer& to, event what, std::string_view node, byte_buffer& body) {
  what.at_ms = 0;  // so that decided_at_ms is written
  body.clear();
  append_body(body, what, node);
  to.put_text(to_string(what.type()));
  to.put_text(what.subject ? as_text(what.subject->bytes) : std::string_view());
  to.put_text(body.view());
  to.put_text(what.sealed);
  each_extra(what, [&](std::uint64_t value) { to.put(value); });
  if (const auto* seqs = listed_seqs(what)) {
    to.put(static_cast<std::uint32_t>(seqs->size()));
    for (const auto seq : *seqs) to.put(seq);
  }
}

/// Reads what canonical_writer wrote; once it has failed, everything it gives is empty.
class entry_reader {
 public:
  explicit entry_reader(std::string_view bytes) : left_(bytes) {}
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] bool at_end() const noexcept { return !failed_ && left_.empty(); }
  std::string_view take(std::size_t size) {
    if (failed_ || size > left_.size()) {
      failed_ = true;
      return {};
    }
    const auto part = left_.substr(0, size);
    left_.remove_prefix(size);
    return part;
  }
  template <class Int>
  Int get() {
    Int value = 0;
    const auto part = take(sizeof(Int));
    for (std::size_t i = 0; i < part.size(); ++i)
      value |= static_cast<Int>(static_cast<Int>(static_cast<std::uint8_t>(part[i])) << (8 * i));
    return value;
  }
  std::string_view text() { return take(get<std::uint32_t>()); }

 private:
  std::string_view left_;
  bool failed_ = false;
};

[[nodiscard]] std::optional<event> get_event(entry_reader& from, std::uint64_t seq) {
  const auto type = from.text();
  const auto subject = from.text();
  const auto body = from.text();
  const auto sealed = from.text();
  if (from.failed()) return std::nullopt;
  auto read = decode_body(seq, 0, type, as_bytes(subject), body, sealed);
  if (!read) return std::nullopt;
  auto& what = *read;
  each_extra(what, [&](std::uint64_t& value) { value = from.get<std::uint64_t>(); });
  if (auto* seqs = listed_seqs(what)) {
    const auto count = from.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < count && !from.failed(); ++i)
      seqs->push_back(from.get<std::uint64_t>());
  }
  if (from.failed()) return std::nullopt;
  if (what.type() == event_type::session_created) what.session_seq = seq;
  return std::move(what);
}

}  // namespace

fleet_keys::fleet_keys(const key_material& from)
    : tags_(from.chain()("portcullis fleet tags")),
      writers_(from.chain()("portcullis fleet entries")),
      users_(from.chain()("portcullis fleet users")),
      check_value_(to_hex(cut<16>(from.chain()("portcullis fleet")))) {
  for (const auto& key : from.ring())
    ring_ += (ring_.empty() ? "" : ",") + to_hex(cut<8>(key.ids("portcullis fleet ring")));
}

bool fleet_keys::goes_on_from(std::string_view other) const noexcept {
  const auto newest = other.substr(0, other.find(','));
  return !newest.empty() && ring_.find(newest) != std::string::npos;
}

namespace {

fleet_tag tag_of(const digest& whole) noexcept {
  fleet_tag tag = 0;
  for (std::size_t i = 0; i < sizeof tag; ++i) tag = tag << 8 | whole[i];
  return tag;
}

}  // namespace

fleet_tag fleet_keys::of_user(const byte_array<16>& lookup) const noexcept {
  return tag_of(tags_.begin().update_sized("user").update(lookup).finish());
}
fleet_tag fleet_keys::of_tenant(std::string_view tenant_id) const noexcept {
  return tag_of(tags_.begin().update_sized("tenant").update_sized(tenant_id).finish());
}
fleet_tag fleet_keys::of_alias(const short_hash& tag) const noexcept {
  return tag_of(tags_.begin().update_sized("alias").update(tag).finish());
}
fleet_tag fleet_keys::of_breaker(std::string_view service, std::string_view breaker) const {
  return tag_of(
      tags_.begin().update_sized("breaker").update_sized(service).update_sized(breaker).finish());
}

aead_key fleet_keys::of_writer(const byte_array<8>& writer) const noexcept {
  return writers_(byte_view(writer));
}

std::string to_bytes(const entry_name& name) {
  std::string out(as_text(name.writer));
  append_big_endian(out, name.number);
  return out;
}

std::optional<entry_name> parse_entry_name(std::string_view bytes) noexcept {
  entry_name name;
  if (bytes.size() != name.writer.size() + sizeof name.number) return std::nullopt;
  std::memcpy(name.writer.data(), bytes.data(), name.writer.size());
  for (const char each : bytes.substr(name.writer.size()))
    name.number = name.number << 8 | static_cast<std::uint8_t>(each);
  return name;
}

std::string to_bytes(std::span<const fleet_tag> tags) {
  std::string out;
  for (const auto tag : tags) append_big_endian(out, tag);
  return out;
}

std::string seal_entry(std::span<const event> events, std::string_view node, const entry_name& name,
                       const entry_outside& outside, const aead_key& key) {
  canonical_writer to;
  byte_buffer body;
  to.put(format);
  to.put(static_cast<std::uint32_t>(events.size()));
  for (const auto& each : events) put_event(to, each, node, body);
  aead_nonce nonce{};
  const auto number = to_bytes(name).substr(name.writer.size());
  std::memcpy(nonce.data() + nonce.size() - number.size(), number.data(), number.size());
  return seal(key, nonce, to.view(), purpose_of(name, events.size(), outside));
}

result<std::vector<event>> open_entry(std::string_view sealed, std::uint64_t count,
                                      std::uint64_t first_seq, const entry_name& name,
                                      const entry_outside& outside, const aead_key& key) {
  const auto refused = fail(error_code::STORE_INTEGRITY, {}, "entry");
  const auto plain = open(key, sealed, purpose_of(name, count, outside));
  if (!plain) return refused;
  entry_reader from(*plain);
  if (from.get<std::uint8_t>() != format || from.get<std::uint32_t>() != count) return refused;
  std::vector<event> events;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto what = get_event(from, first_seq + i);
    if (!what) return refused;
    events.push_back(*std::move(what));
  }
  if (!from.at_end()) return refused;
  return events;
}

}  // namespace portcullis::core
