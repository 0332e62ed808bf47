// placeholder
#pragma once
#include <string_view>
#include "core/contract/types.hpp"
namespace portcullis::net {
enum class proxy_status { need_more, complete, malformed };
struct proxy_header { std::size_t size = 0; std::optional<core::ip_address> source; };
inline proxy_status parse_proxy_header(std::string_view, proxy_header&) { return proxy_status::malformed; }
}
