// What writing an event and reading it again makes of it.
#pragma once
#include "core/event/codec.hpp"

namespace portcullis::core {

/// An event as it comes back from the disk.
inline event from_disk(const event& what) {
  byte_buffer body;
  append_body(body, what, "node-1");
  return *decode_body(what.seq, what.at_ms, to_string(what.type()),
                      what.subject ? byte_view(what.subject->bytes) : byte_view(), body.view(),
                      what.sealed);
}

}  // namespace portcullis::core
