// A load of lines, for peers that give back what they are sent.
#pragma once
#include <algorithm>
#include <string>
#include <utility>

#include "apps/bench/script.hpp"

namespace portcullis::apps {

/// Says `line` (with its LF) `limit` times, takes any line for a good answer.
class lines_script final : public bench_script {
 public:
  explicit lines_script(std::size_t limit, std::string line = "hello\n")
      : left_(limit), line_(std::move(line)) {}
  bool append(core::byte_buffer& out) override {
    if (left_ == 0) return false;
    --left_;
    out.append(line_);
    return true;
  }
  std::size_t take(std::string_view bytes, bench_tally& into) override {
    const auto end = bytes.rfind('\n');
    if (end == std::string_view::npos) return 0;
    into.replies += static_cast<std::uint64_t>(
        std::count(bytes.begin(), bytes.begin() + static_cast<long>(end) + 1, '\n'));
    return end + 1;
  }

 private:
  std::size_t left_;
  std::string line_;
};

}  // namespace portcullis::apps
