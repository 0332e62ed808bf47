// The blobs of the table breaker_sources, which exports carry as they are.
#pragma once
#include <vector>

#include "core/breaker/observed.hpp"
#include "core/bytes.hpp"

namespace portcullis::store {

/// The column `counts` of breaker_sources: results, then durations, eight bytes each, low byte
/// first. False: the bytes are not of that form.
[[nodiscard]] std::vector<std::uint8_t> pack_counts(const core::breaker_source& of);
[[nodiscard]] bool unpack_counts(core::byte_view from, core::breaker_source& to) noexcept;
/// The column `gaps`: of each after and before, as above, then from and to, a byte each.
[[nodiscard]] std::vector<std::uint8_t> pack_gaps(const core::breaker_source& of);
[[nodiscard]] bool unpack_gaps(core::byte_view from, core::breaker_source& to);

}  // namespace portcullis::store
