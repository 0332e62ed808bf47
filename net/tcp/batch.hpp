// The replies of one JSON-RPC batch, collected until the last is there.
#pragma once
#include <cstddef>
#include <vector>

#include "core/bytes.hpp"

namespace portcullis::net {

/// Single thread. Every reply has a place given out in the order of the calls; notifications have
/// none.
class reply_batch {
 public:
  /// A place for a reply that is to come.
  [[nodiscard]] std::size_t expect() {
    replies_.emplace_back();
    ++missing_;
    return replies_.size() - 1;
  }
  /// Where the reply of a place is written to, before fulfil().
  [[nodiscard]] core::byte_buffer& place(std::size_t index) { return replies_[index]; }
  void fulfil(std::size_t index) noexcept {
    bytes_ += replies_[index].size();
    --missing_;
  }
  /// Of the replies that are here.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// A subscribe's reply is among the replies: what is pushed must wait until all are written.
  void hold_pushes() noexcept { holds_pushes_ = true; }
  [[nodiscard]] bool holds_pushes() const noexcept { return holds_pushes_; }
  /// No more calls will come.
  void seal() noexcept { sealed_ = true; }
  /// Whether it is time to write it.
  [[nodiscard]] bool complete() const noexcept { return sealed_ && missing_ == 0; }

  /// Appends the array and its LF; nothing for a batch of notifications.
  void write(core::byte_buffer& out) const {
    if (replies_.empty()) return;
    out.append('[');
    for (std::size_t i = 0; i < replies_.size(); ++i) {
      if (i > 0) out.append(',');
      out.append(replies_[i].view());
    }
    out.append("]\n");
  }

 private:
  std::vector<core::byte_buffer> replies_;
  std::size_t missing_ = 0;
  std::size_t bytes_ = 0;
  bool sealed_ = false;
  bool holds_pushes_ = false;
};

}  // namespace portcullis::net
