// Assertions that stay on in release: a breach is a bug of ours, and a log written on after one
// cannot be trusted.
#pragma once

namespace portcullis::store {

/// Stops the process, naming the place, unless `holds`.
void require(bool holds, const char* what, const char* file = __builtin_FILE(),
             int line = __builtin_LINE()) noexcept;

}  // namespace portcullis::store
