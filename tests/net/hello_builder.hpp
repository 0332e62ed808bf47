// ClientHellos made by hand.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace portcullis::net::test {

/// Big endian, `width` bytes.
inline std::string number(std::size_t value, int width) {
  std::string bytes;
  for (int place = width - 1; place >= 0; --place)
    bytes +=
        static_cast<char>(place < 8 ? value >> (8U * static_cast<unsigned>(place)) & 0xffU : 0);
  return bytes;
}
/// A vector of TLS: its length in `width` bytes before it.
inline std::string sized(std::string_view content, int width) {
  return number(content.size(), width).append(content);
}
inline std::string u16s(const std::vector<std::uint16_t>& values) {
  std::string bytes;
  for (const auto value : values) bytes += number(value, 2);
  return bytes;
}
/// One record.
inline std::string record(std::string_view content, int type = 22, std::size_t version = 0x0301) {
  return number(static_cast<std::size_t>(type), 1) + number(version, 2) + sized(content, 2);
}
/// The message cut into records of at most `step` bytes.
inline std::string records(std::string_view message, std::size_t step) {
  std::string bytes;
  for (std::size_t at = 0; at < message.size(); at += step)
    bytes += record(message.substr(at, step));
  return bytes;
}

struct hello_builder {
  std::size_t version = 0x0303;
  std::size_t session_id_size = 32;
  std::vector<std::uint16_t> ciphers = {0x1301, 0xc02b};
  std::string compressions = std::string(1, '\0');
  bool has_extensions = true;
  std::vector<std::pair<std::uint16_t, std::string>> extensions;  // type, content

  hello_builder& add(std::uint16_t type, std::string content = {}) {
    extensions.emplace_back(type, std::move(content));
    return *this;
  }
  hello_builder& host(std::string_view name) {
    return add(0, sized(std::string(1, '\0') + sized(name, 2), 2));
  }
  hello_builder& groups(const std::vector<std::uint16_t>& values) {
    return add(10, sized(u16s(values), 2));
  }
  hello_builder& point_formats(std::string_view values) { return add(11, sized(values, 1)); }
  hello_builder& signatures(const std::vector<std::uint16_t>& values) {
    return add(13, sized(u16s(values), 2));
  }
  hello_builder& alpn(const std::vector<std::string>& names) {
    std::string list;
    for (const auto& name : names) list += sized(name, 1);
    return add(16, sized(list, 2));
  }
  hello_builder& versions(const std::vector<std::uint16_t>& values) {
    return add(43, sized(u16s(values), 1));
  }

  [[nodiscard]] std::string body() const {
    auto bytes = number(version, 2) + std::string(32, 'R') +
                 sized(std::string(session_id_size, 'S'), 1) + sized(u16s(ciphers), 2) +
                 sized(compressions, 1);
    std::string all;
    for (const auto& [type, content] : extensions) all += number(type, 2) + sized(content, 2);
    return has_extensions ? bytes + sized(all, 2) : bytes;
  }
  [[nodiscard]] std::string message() const { return "\x01" + sized(body(), 3); }
  [[nodiscard]] std::string bytes() const { return record(message()); }
};

/// The example of JA4.md, as a browser could send it.
inline hello_builder browser_hello() {
  hello_builder hello;
  hello.ciphers = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9,
                   0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
  hello.add(0x001b, sized(u16s({2}), 1)).host("example.com");
  hello.add(0x0033, sized(number(29, 2) + sized(std::string(32, 'K'), 2), 2));
  hello.alpn({"h2", "http/1.1"}).add(0x4469, sized(sized("h2", 1), 2)).add(0x0017);
  hello.add(0x002d, sized("\x01", 1));
  hello.signatures({0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601});
  hello.add(0x0005, std::string("\x01\0\0\0\0", 5)).add(0x0023).add(0x0012);
  hello.versions({0x0304, 0x0303}).add(0xff01, std::string(1, '\0'));
  hello.point_formats(std::string(1, '\0')).groups({0x001d, 0x0017, 0x0018});
  hello.add(0x0015, std::string(20, '\0'));
  return hello;
}

/// The same with GREASE wherever RFC 8701, 3.1 lets a client put it.
inline hello_builder greased(hello_builder hello) {
  hello.ciphers.insert(hello.ciphers.begin(), 0x5a5a);
  hello.ciphers.push_back(0xfafa);
  for (auto& [type, content] : hello.extensions) {
    if (type == 10 || type == 13)
      content = sized(number(0x2a2a, 2) + content.substr(2) + number(0x0a0a, 2), 2);
    if (type == 43) content = sized(number(0x9a9a, 2) + content.substr(1) + number(0xfafa, 2), 1);
  }
  hello.extensions.insert(hello.extensions.begin(), {0xaaaa, ""});
  hello.extensions.emplace_back(0x1a1a, "x");
  return hello;
}

}  // namespace portcullis::net::test
