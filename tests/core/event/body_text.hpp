// An event's stored form as a text of its own.
#pragma once
#include <string>

#include "core/event/codec.hpp"

namespace portcullis::core {

[[nodiscard]] inline std::string encode_body(const event& happened, std::string_view node) {
  byte_buffer out;
  append_body(out, happened, node);
  return std::string(out.view());
}

}  // namespace portcullis::core
