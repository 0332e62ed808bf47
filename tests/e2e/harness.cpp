#include "harness.hpp"

#include "http_client.hpp"
#include "tests/send_signal.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>

namespace portcullis::e2e {
namespace {

int left_ms(clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(0, left));
}

bool readable(int fd, clock::time_point until) {
  pollfd which{fd, POLLIN, 0};
  return poll(&which, 1, left_ms(until)) == 1;
}

}  // namespace

bool long_tests() { return std::getenv("PORTCULLIS_LONG_TESTS") != nullptr; }

temp_folder::temp_folder(const std::filesystem::path& within) {
  auto pattern = (within / "portcullis-e2e-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

temp_folder::~temp_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string temp_folder::write(const std::string& name, const std::string& text) const {
  std::ofstream(file(name)) << text;
  return file(name);
}

line_client::line_client(std::uint16_t port, const std::string& to)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, to.c_str(), &address.sin_addr);
  address.sin_port = htons(port);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) over_ = true;
}

line_client::~line_client() { close(); }

line_client::line_client(line_client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      over_(other.over_),
      received_(std::move(other.received_)),
      kept_(std::move(other.kept_)),
      last_id_(other.last_id_),
      call_within_(other.call_within_) {}

line_client& line_client::operator=(line_client&& other) noexcept {
  close();
  fd_ = std::exchange(other.fd_, -1);
  over_ = other.over_;
  received_ = std::move(other.received_);
  kept_ = std::move(other.kept_);
  last_id_ = other.last_id_;
  call_within_ = other.call_within_;
  return *this;
}

bool line_client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

ssize_t line_client::send_some(std::string_view bytes) {
  const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return errno == EAGAIN ? 0 : -1;
  return sent;
}

void line_client::finish() { shutdown(fd_, SHUT_WR); }

void line_client::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void line_client::vanish() {
  const linger hard{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

bool line_client::fill(clock::time_point until) {
  if (over_ || fd_ < 0 || !readable(fd_, until)) return false;
  std::array<char, 65536> block;
  const auto got = recv(fd_, block.data(), block.size(), 0);
  if (got <= 0) {
    over_ = true;
    return false;
  }
  received_.append(block.data(), static_cast<std::size_t>(got));
  return true;
}

std::optional<std::string> line_client::next_line(clock::time_point until) {
  for (std::size_t searched = 0;;) {
    const auto end = received_.find('\n', searched);
    if (end != std::string::npos) {
      auto text = received_.substr(0, end);
      received_.erase(0, end + 1);
      return text;
    }
    searched = received_.size();
    if (!fill(until)) return std::nullopt;
  }
}

std::optional<std::string> line_client::line(std::chrono::milliseconds within) {
  if (!kept_.empty()) {
    auto text = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return text;
  }
  return next_line(clock::now() + within);
}

json line_client::reply(std::chrono::milliseconds within) {
  const auto text = line(within);
  if (!text) {
    ADD_FAILURE() << "no line came; the rest is: " << received_.substr(0, 200);
    return nullptr;
  }
  auto parsed = json::parse(*text, nullptr, false);
  EXPECT_FALSE(parsed.is_discarded()) << *text;
  return parsed;
}

bool line_client::ended(std::chrono::milliseconds within) {
  const auto until = clock::now() + within;
  while (fill(until)) {
  }
  return over_;
}

std::string line_client::rest(std::chrono::milliseconds within) {
  (void)ended(within);
  return std::exchange(received_, {});
}

json line_client::call(std::string_view method, const json& params) {
  const auto id = ++last_id_;
  if (!send(json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}.dump() +
            "\n"))
    return nullptr;
  const auto until = clock::now() + call_within_;
  while (auto text = next_line(until)) {
    auto parsed = json::parse(*text, nullptr, false);
    if (parsed.is_object() && parsed.contains("id") && parsed["id"] == id) return parsed;
    kept_.push_back(std::move(*text));
  }
  return nullptr;
}

json line_client::result(std::string_view method, const json& params) {
  auto whole = call(method, params);
  if (whole.is_object() && whole.contains("result")) return whole["result"];
  ADD_FAILURE() << method << " " << params.dump().substr(0, 300) << " -> " << whole.dump();
  return nullptr;
}

std::string line_client::error(std::string_view method, const json& params) {
  return error_of(call(method, params));
}

http_answer http_get(std::uint16_t port, const std::string& target, const std::string& headers) {
  return http_ask(port, "GET " + target, headers);
}

const std::string& tested_binary() {
  static const char* const other = std::getenv("PORTCULLIS_TEST_BINARY");
  static const std::string path = other != nullptr ? other : PORTCULLIS_BINARY;
  return path;
}

server::server(server_options options)
    : options_(std::move(options)),
      data_dir_(options_.data_dir.empty() ? folder_.file("data") : options_.data_dir) {
  if (!options_.config.empty()) folder_.write("portcullis.toml", options_.config);
  if (options_.start && !start()) ADD_FAILURE() << "the server did not start: " << log();
}

server::~server() {
  kill_at_once();
  if (testing::Test::HasFailure()) std::fprintf(stderr, "%s", log().c_str());
}

std::vector<std::string> server::command() const {
  std::vector<std::string> words;
  if (options_.own_disk || options_.own_clock) {
    std::string shims = "LD_PRELOAD=";
    if (options_.own_disk) shims += PORTCULLIS_DISK_SHIM;
    if (options_.own_clock) shims += ":" PORTCULLIS_CLOCK_SHIM;
    // A sanitizer's runtime wants to come first, and need not.
    words = {"env", shims, "PORTCULLIS_E2E_DISK=" + folder_.file("disk"),
             "PORTCULLIS_E2E_CLOCK=" + folder_.file("clock"),
             "ASAN_OPTIONS=verify_asan_link_order=0"};
  }
  for (const auto* each : {tested_binary().c_str(), "serve", "--data-dir"})
    words.emplace_back(each);
  words.push_back(data_dir_);
  for (const auto& each : {std::string("--listen"), options_.listen, std::string("--http"),
                           std::string("127.0.0.1:0")})
    words.push_back(each);
  if (!options_.config.empty()) {
    words.emplace_back("--config");
    words.push_back(config_file());
  }
  auto set = options_.set;
  if (options_.open) set.insert(set.begin(), {"server.environment=development", "auth.mode=none"});
  for (auto& each : set) {
    words.emplace_back("--set");
    words.push_back(each);
  }
  return words;
}

bool server::start() {
  if (pid_ > 0) kill_at_once();
  std::array<int, 2> log_pipe{};
  if (pipe2(log_pipe.data(), O_CLOEXEC) != 0) return false;
  const auto words = command();
  std::vector<char*> arguments;
  for (const auto& each : words) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  {
    std::lock_guard guard{mutex_};
    begun_at_ = log_.size();
    log_ended_ = false;
  }
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing behind
    dup2(log_pipe[1], STDERR_FILENO);
    const rlimit limit{options_.descriptors_max, options_.descriptors_max};
    if (options_.descriptors_max > 0 && setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(126);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  ::close(log_pipe[1]);
  if (reader_.joinable()) reader_.join();
  reader_ = std::jthread([this, fd = log_pipe[0]] { read_log(fd); });
  if (options_.more_log)
    elsewhere_ = std::jthread([this](const std::stop_token& over) { read_elsewhere(over); });
  std::unique_lock lock{mutex_};
  std::string ready;
  const bool told = changed_.wait_for(lock, patience, [&] {
    const auto at = log_.find("The node is ready.", begun_at_);
    if (at == std::string::npos) return log_ended_;
    const auto begin = log_.rfind('\n', at) + 1;  // npos + 1 is 0
    const auto end = log_.find('\n', at);
    if (end != std::string::npos) ready = log_.substr(begin, end - begin);
    return end != std::string::npos;
  });
  if (!told || ready.empty()) return false;
  const auto fields = json::parse(ready);
  const auto port_of = [&](const char* name) {
    const auto address = fields.value(name, std::string());  // absent: none
    if (address.empty()) return std::uint16_t{0};
    return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  };
  rpc_port = port_of("rpc");
  http_port = port_of("http");
  rpc_tls_port = port_of("rpc_tls");
  return true;
}

void server::signal(int number) const {
  if (pid_ > 0) send_signal(pid_, number);
}

std::optional<int> server::wait(std::chrono::milliseconds within) {
  if (pid_ <= 0) return std::nullopt;
  const int handle = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  const bool over = readable(handle, clock::now() + within);
  ::close(handle);
  if (!over) return std::nullopt;
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  if (reader_.joinable()) reader_.join();
  if (elsewhere_.joinable()) {
    elsewhere_.request_stop();
    elsewhere_.join();
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::optional<int> server::terminate() {
  signal(SIGTERM);
  return wait();
}

void server::kill_at_once() {
  if (pid_ <= 0) return;
  signal(SIGKILL);
  (void)wait();
}

void server::configure(const std::string& text) const {
  folder_.write("portcullis.new", text);
  std::filesystem::rename(folder_.file("portcullis.new"), config_file());
}

void server::disk(const std::string& state) const {
  folder_.write("disk.new", state);
  std::filesystem::rename(folder_.file("disk.new"), folder_.file("disk"));
}

void server::step_clock(std::chrono::seconds off) const {
  folder_.write("clock.new", std::to_string(off.count()));
  std::filesystem::rename(folder_.file("clock.new"), folder_.file("clock"));
}

std::string server::shown_by_proc(const std::string& file) const {
  std::ifstream from("/proc/" + std::to_string(pid_) + "/" + file);
  return {std::istreambuf_iterator<char>(from), {}};
}

std::size_t server::resident() const {
  std::ifstream statm("/proc/" + std::to_string(pid_) + "/statm");
  std::size_t total = 0;
  std::size_t pages = 0;
  statm >> total >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

double server::metric(const std::string& series) const {
  const auto body = "\n" + http_get(http_port, "/metrics").body;
  const auto at = body.find("\n" + series + " ");
  return at == std::string::npos ? 0 : std::stod(body.substr(at + series.size() + 2));
}

ran run(const std::string& command) {
  ran result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> block;
  for (std::size_t got = 0; (got = fread(block.data(), 1, block.size(), pipe)) > 0;)
    result.out.append(block.data(), got);
  const int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds within) {
  const auto until = clock::now() + within;
  do {
    if (holds()) return true;
    poll(nullptr, 0, 5);  // the condition is another process's: there is nothing to be woken by
  } while (clock::now() < until);
  return holds();
}

token make_token(const std::string& seed) {
  std::array<unsigned char, 32> bytes;
  SHA256(reinterpret_cast<const unsigned char*>(seed.data()), seed.size(), bytes.data());
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  token made;
  std::uint32_t bits = 0;
  int have = 0;
  for (const auto byte : bytes) {
    bits = (bits << 8) | byte;
    have += 8;
    for (; have >= 6; have -= 6) made.text += letters[(bits >> (have - 6)) & 63];
  }
  made.text += letters[(bits << (6 - have)) & 63];
  SHA256(reinterpret_cast<const unsigned char*>(made.text.data()), made.text.size(), bytes.data());
  for (const auto byte : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    made.sha256 += digits[byte >> 4];
    made.sha256 += digits[byte & 15];
  }
  return made;
}

std::string token_toml(const token& t, const std::string& name, const std::string& role,
                       const std::string& more) {
  return "[[auth.token]]\nname = \"" + name + "\"\nrole = \"" + role + "\"\nsha256 = \"" +
         t.sha256 + "\"\n" + more + "\n";
}

std::string error_of(const json& reply) {
  if (!reply.is_object()) return "no reply";
  if (!reply.contains("error")) return "";
  return reply["error"]["data"]["error"];
}

json context(const std::string& ip, const std::string& user_agent) {
  json made{{"ip", ip}};
  if (!user_agent.empty()) made["user_agent"] = user_agent;
  return made;
}

json user(const std::string& user_id, const std::string& tenant_id) {
  return {{"tenant_id", tenant_id}, {"user_id", user_id}};
}

json create(line_client& client, const std::string& user_id, const json& more) {
  auto params = user(user_id);
  params["context"] = context();
  params.update(more);
  return client.result("session.create", params);
}

json validate(line_client& client, const json& session_id, const json& ctx) {
  return client.result("session.validate", {{"session_id", session_id}, {"context", ctx}});
}

std::string state_of(line_client& client, const json& session_id, const json& ctx) {
  const auto answer = validate(client, session_id, ctx);
  if (!answer.is_object()) return "no answer";
  return answer["valid"] == true ? "valid" : answer.value("reason", "no reason");
}

std::vector<json> events(line_client& client, json filter) {
  std::vector<json> all;
  if (!filter.contains("limit")) filter["limit"] = 1000;
  for (;;) {
    const auto page = client.result("events.query", filter);
    if (!page.is_object() || page["events"].empty()) return all;
    for (const auto& each : page["events"]) all.push_back(each);
    filter["after"] = page["cursor"];
  }
}

std::vector<json> events_at_least(line_client& client, std::size_t count, const json& filter) {
  std::vector<json> found;
  EXPECT_TRUE(eventually([&] {
    found = events(client, filter);
    return found.size() >= count;
  })) << "only "
      << found.size() << " events of " << filter.dump();
  return found;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace portcullis::e2e
