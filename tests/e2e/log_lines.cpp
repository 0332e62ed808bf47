#include "log_lines.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>

namespace portcullis::e2e {
namespace {

/// The character at `at`, which moves on; -1: no UTF-8.
std::int32_t next_character(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at++);
  if (first < 0x80) return static_cast<std::int32_t>(first);
  const int tail = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
  if (tail == 0 || first > 0xF4) return -1;
  auto code = static_cast<std::int32_t>(first & (0x3FU >> tail));
  for (int i = 0; i < tail; ++i, ++at) {
    if (at >= text.size() || (byte(at) & 0xC0U) != 0x80) return -1;
    code = code << 6 | (byte(at) & 0x3F);
  }
  const bool overlong = (tail == 2 && code < 0x800) || (tail == 3 && code < 0x10000);
  return overlong || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF ? -1 : code;
}

std::string journal_name(const std::string& name) {
  if (name == "@timestamp") return "TIMESTAMP";
  std::string made;
  for (const char c : name) made += c == '.' ? '_' : static_cast<char>(std::toupper(c));
  return made;
}

/// Collects one flat object; says no to whatever is not one.
struct flat_object : nlohmann::json_sax<json> {
  log_fields fields;
  std::string name, problem;
  int depth = 0;

  bool refuse(const std::string& why) {
    problem = why;
    return false;
  }
  bool take(const std::string& value) {
    if (depth != 1) return refuse("no object");
    if (!fields.emplace(journal_name(name), value).second) return refuse("twice: " + name);
    return true;
  }
  bool null() override { return refuse("null"); }
  bool boolean(bool value) override { return take(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return take(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return take(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return take(text); }
  bool string(string_t& value) override { return take(value); }
  bool binary(binary_t&) override { return refuse("binary"); }
  bool start_object(std::size_t) override { return ++depth == 1 || refuse("an object inside"); }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return refuse("an array"); }
  bool end_array() override { return refuse("an array"); }
  bool key(string_t& value) override {
    static const std::regex form("@timestamp|[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*");
    name = value;
    return std::regex_match(value, form) || refuse("a name: " + value);
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& why) override {
    return refuse(why.what());
  }
};

}  // namespace

std::string harm_in(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto code = next_character(text, at);
    if (code < 0) return "no UTF-8 before byte " + std::to_string(at);
    const bool bidi = code == 0x061C || code == 0x200E || code == 0x200F ||
                      (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
    if (code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x2028 || code == 0x2029 || bidi)
      return "character " + std::to_string(code) + " before byte " + std::to_string(at);
  }
  return {};
}

log_fields fields_of_json(const std::string& line) {
  EXPECT_EQ(harm_in(line), "") << line;
  flat_object read;
  const bool whole = json::sax_parse(line, &read);
  EXPECT_TRUE(whole && read.depth == 1) << read.problem << " in: " << line;
  return whole ? read.fields : log_fields{};
}

log_fields fields_of_entry(const std::string& entry) {
  static const std::regex form("[A-Z][A-Z0-9_]{0,63}");
  log_fields fields;
  EXPECT_TRUE(entry.ends_with('\n')) << entry;
  std::istringstream lines(entry);
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find('=');  // without it the binary form would begin here
    const auto name = line.substr(0, equals);
    EXPECT_TRUE(equals != line.npos && std::regex_match(name, form)) << entry;
    EXPECT_EQ(harm_in(line), "") << entry;
    if (equals == line.npos) return {};
    EXPECT_TRUE(fields.emplace(name, line.substr(equals + 1)).second) << "twice: " << name;
  }
  return fields;
}

void expect_ecs(const log_fields& line) {
  static const std::map<std::string, std::regex> forms = {
      {"TIMESTAMP", std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")},
      {"LOG_LEVEL", std::regex("trace|debug|info|warn|error")},
      {"LOG_LOGGER", std::regex("server|config|net|http|auth|session|lockout|breaker|events|store|"
                                "actors|metrics|log")},
      {"MESSAGE", std::regex("[A-Z].*[.]|[a-z][A-Za-z._]* .*[.]|X-.*[.]")},
      {"ECS_VERSION", std::regex(R"(8\.11\.0)")},
      {"SERVICE_NAME", std::regex("portcullis")},
      {"SERVICE_NODE_NAME", std::regex("[A-Za-z0-9_.-]+")},
      {"SERVICE_VERSION", std::regex(R"(\d+\.\d+\.\d+.*)")},
      {"EVENT_ACTION", std::regex("[a-z][a-z_]*")},
  };
  const auto shown = [&] {
    std::string text;
    for (const auto& [name, value] : line) text += name + "=" + value + " ";
    return text;
  };
  for (const auto& [name, form] : forms) {
    const auto found = line.find(name);
    const bool there = found != line.end() && std::regex_match(found->second, form);
    EXPECT_TRUE(there) << name << " of " << shown();
  }
  const auto trace = line.find("TRACE_ID");
  if (trace != line.end())
    EXPECT_TRUE(std::regex_match(trace->second, std::regex("[0-9a-f]{32}"))) << shown();
}

std::vector<log_fields> lines_of(const std::string& text) {
  std::vector<log_fields> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) all.push_back(fields_of_json(line));
  return all;
}

std::string growing_file::more() {
  std::ifstream from(path_);
  std::string text{std::istreambuf_iterator<char>(from), {}};
  if (text.size() < read_) read_ = 0;
  text.erase(0, read_);
  text.erase(text.rfind('\n') + 1);  // npos + 1 is 0
  read_ += text.size();
  return text;
}

fake_journald::fake_journald(std::string path)
    : path_(std::move(path)), fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("no socket at " + path_);
}

fake_journald::~fake_journald() {
  ::close(fd_);
  unlink(path_.c_str());
}

std::string fake_journald::more() {
  std::string text;
  std::string one(1 << 20, '\0');
  while (!stalled) {
    const auto got = recv(fd_, one.data(), one.size(), MSG_DONTWAIT);
    if (got < 0) break;
    const auto entry = one.substr(0, static_cast<std::size_t>(got));
    json line = json::object();
    for (const auto& [name, value] : fields_of_entry(entry)) {
      std::string lower;
      for (const char c : name) lower += static_cast<char>(std::tolower(c));
      line[lower] = value;
    }
    text += line.dump() + "\n";
    std::lock_guard guard{mutex_};
    entries_.push_back(entry);
  }
  return text;
}

std::vector<std::string> fake_journald::entries() const {
  std::lock_guard guard{mutex_};
  return entries_;
}

}  // namespace portcullis::e2e
