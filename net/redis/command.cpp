#include "net/redis/command.hpp"

#include <hiredis/hiredis.h>
#include <openssl/evp.h>

#include <array>
#include <cassert>
#include <new>
#include <utility>

namespace portcullis::net::redis {

command::command(std::initializer_list<std::string_view> words) {
  for (const auto word : words) add(word);
}

command& command::add(std::string_view word) {
  bytes_.append(word);
  ends_.push_back(bytes_.size());
  return *this;
}

command& command::add(std::int64_t value) { return add(std::to_string(value)); }

command& command::add(std::span<const std::string_view> words) {
  for (const auto word : words) add(word);
  return *this;
}

std::string_view command::operator[](std::size_t index) const noexcept {
  assert(index < ends_.size());
  const auto begin = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(bytes_).substr(begin, ends_[index] - begin);
}

command command::renamed(std::string_view first, std::string_view second) const {
  command made{first, second};
  for (std::size_t i = 2; i < size(); ++i) made.add((*this)[i]);
  return made;
}

void command::write(core::byte_buffer& to) const {
  std::vector<const char*> words(size());
  std::vector<std::size_t> sizes(size());
  for (std::size_t i = 0; i < size(); ++i) {
    const auto word = (*this)[i];
    words[i] = word.data();
    sizes[i] = word.size();
  }
  char* made = nullptr;
  const auto bytes =
      redisFormatCommandArgv(&made, static_cast<int>(size()), words.data(), sizes.data());
  if (bytes < 0) throw std::bad_alloc();
  to.append({made, static_cast<std::size_t>(bytes)});
  redisFreeCommand(made);
}

script script::of(std::string text) {
  std::array<unsigned char, 20> digest{};
  [[maybe_unused]] const int hashed =
      EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  assert(hashed == 1);
  auto name = core::to_hex(digest);
  return {std::move(text), std::move(name)};
}

}  // namespace portcullis::net::redis
