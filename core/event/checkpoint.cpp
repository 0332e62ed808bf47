#include "core/event/checkpoint.hpp"

namespace portcullis::core {

void append_signed_number(std::string& to, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}

std::string signed_text(const log_place& of) {
  std::string text = "portcullis checkpoint 1\n";
  append_signed_number(text, of.seq);
  append_signed_number(text, static_cast<std::uint64_t>(of.at_ms));
  text.append(as_text(of.mac));
  return text;
}

checkpoint make_checkpoint(const log_place& of, const signing_key& by) {
  return {of.mac, of.at_ms, by.verifier(), by.sign(signed_text(of))};
}

bool is_signed(const checkpoint& what, const log_place& of, const public_key& by) noexcept {
  return what.signer == by && what.mac == of.mac && what.of_at_ms == of.at_ms &&
         verifies(by, signed_text(of), what.signature);
}

}  // namespace portcullis::core
