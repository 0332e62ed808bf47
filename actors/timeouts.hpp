// How long actors wait for each other.
#pragma once
#include <chrono>

namespace portcullis::actors {

/// For an answer that a request waits for: below the request's own deadline, so that what failed is
/// told rather than that time is up.
inline constexpr auto peer_timeout = std::chrono::seconds(8);
/// For what goes over the whole store.
inline constexpr auto whole_store_timeout = std::chrono::minutes(10);

}  // namespace portcullis::actors
