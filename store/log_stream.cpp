#include "store/log_stream.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "core/event/checkpoint.hpp"
#include "core/event/codec.hpp"
#include "store/journal.hpp"

namespace portcullis::store {
namespace {

constexpr std::size_t rows_a_block = 2'048, bytes_a_block = 2U << 20U;
constexpr std::size_t blocks_max = 8;

/// Rows as they were read: their texts stand one after the other in `bytes`.
struct raw_row {
  std::uint64_t seq = 0;
  core::millis at_ms = 0;
  std::uint32_t type = 0, subject = 0, body = 0, sealed = 0, mac = 0;  // sizes
};
struct block {
  std::vector<raw_row> rows;
  std::string bytes;
  // Of the row before the first.
  std::uint64_t seq_before = 0;
  core::millis at_ms_before = 0;
  core::digest mac_before{};
  bool any_before = false;
  core::digest mac{};  // of the last event
  std::vector<core::event> events;
  std::size_t count = 0;  // of events that are good
  std::optional<log_trouble> trouble;
  bool decoded = false, last = false;

  void clear() noexcept {
    rows.clear();
    bytes.clear();
    count = 0;
    trouble.reset();
    decoded = last = false;
  }
};

std::size_t size_of(const log_row& row) noexcept {
  return row.type.size() + row.subject.size() + row.body.size() + row.sealed.size() +
         row.mac.size();
}

void add_row(block& to, const log_row& row) {
  const auto size = [](std::size_t bytes) { return static_cast<std::uint32_t>(bytes); };
  to.rows.push_back({row.seq, row.at_ms, size(row.type.size()), size(row.subject.size()),
                     size(row.body.size()), size(row.sealed.size()), size(row.mac.size())});
  to.bytes.append(row.type);
  to.bytes.append(core::as_text(row.subject));
  to.bytes.append(row.body);
  to.bytes.append(core::as_text(row.sealed));
  to.bytes.append(core::as_text(row.mac));
}

std::optional<core::digest> dropped_of(const core::event& what) {
  return std::visit(
      [](const auto& body) -> std::optional<core::digest> {
        if constexpr (requires { body.dropped; }) return body.dropped;
        return std::nullopt;
      },
      what.body);
}

class block_decoder {
 public:
  block_decoder(block& what, const log_stream_options& options) : block_(what), options_(options) {}

  void run() {
    place_ = {block_.seq_before, block_.at_ms_before, block_.mac_before};
    known_ = block_.any_before;
    if (block_.events.size() < block_.rows.size()) block_.events.resize(block_.rows.size());
    std::string_view bytes = block_.bytes;
    const auto cut = [&](std::size_t size) {
      const auto part = bytes.substr(0, size);
      bytes.remove_prefix(size);
      return part;
    };
    for (const auto& raw : block_.rows) {
      log_row row;
      row.seq = raw.seq;
      row.at_ms = raw.at_ms;
      row.type = cut(raw.type);
      row.subject = core::as_bytes(cut(raw.subject));
      row.body = cut(raw.body);
      row.sealed = core::as_bytes(cut(raw.sealed));
      row.mac = core::as_bytes(cut(raw.mac));
      if (!take(row, block_.events[block_.count])) break;
      ++block_.count;
      block_.mac = place_.mac;
    }
  }

 private:
  bool fail(std::uint64_t seq, log_trouble::kind what, core::error why = {}) {
    block_.trouble = log_trouble{seq, what, why};
    return false;
  }

  bool take(const log_row& row, core::event& to) {
    using kind = log_trouble::kind;
    if (known_ && row.seq != place_.seq + 1) return fail(place_.seq + 1, kind::missing);
    if (known_ && row.at_ms < place_.at_ms) return fail(row.seq, kind::time);
    core::digest mac{};
    if (row.mac.size() != mac.size()) return fail(row.seq, kind::mac);
    std::copy(row.mac.begin(), row.mac.end(), mac.begin());
    auto decoded = core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                                     core::as_text(row.sealed));
    if (options_.chain != nullptr &&
        !is_chained(*options_.chain, place_.mac, row, decoded ? &*decoded : nullptr))
      return fail(row.seq, kind::mac);
    if (!decoded) return fail(row.seq, kind::body, decoded.error());
    if (const auto* signed_here = std::get_if<core::checkpoint>(&decoded->body);
        signed_here != nullptr && options_.signer &&
        !core::is_signed(*signed_here, place_, *options_.signer))
      return fail(row.seq, kind::signature);
    to = std::move(*decoded);
    place_ = {row.seq, row.at_ms, mac};
    known_ = true;
    return true;
  }

  block& block_;
  const log_stream_options& options_;
  core::log_place place_;
  bool known_ = false;
};

}  // namespace

bool is_chained(const core::hmac_key& chain, const core::digest& mac_before, const log_row& row,
                const core::event* decoded) noexcept {
  const auto has = [&](std::string_view body) {
    const auto mac =
        chain_mac(chain, mac_before, row.seq, row.at_ms, row.type, row.subject, body, row.sealed);
    return std::equal(row.mac.begin(), row.mac.end(), mac.begin(), mac.end());
  };
  if (decoded != nullptr && core::is_dropped_when_old(decoded->type())) {
    core::digest hash;
    const auto dropped = dropped_of(*decoded);
    if (has(mac_body(decoded->type(), row.body, dropped, hash))) return true;
    if (dropped) return false;
  }
  return has(row.body);
}

std::string_view to_string(log_trouble::kind what) noexcept {
  switch (what) {
    case log_trouble::kind::missing:
      return "missing";
    case log_trouble::kind::time:
      return "time";
    case log_trouble::kind::mac:
      return "mac";
    case log_trouble::kind::body:
      return "body";
    case log_trouble::kind::file:
      return "file";
    case log_trouble::kind::signature:
      return "signature";
  }
  return {};
}

/// One thread reads blocks, some decode them, the caller takes them in order. What is thrown on
/// them, and a thread that cannot be made, is trouble: nothing may leave a thread.
struct log_stream::pipeline {
  pipeline(log_file& from, log_stream_options given) : file(from), options(std::move(given)) {
    const auto decoders = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 6);
    spare.reserve(blocks_max);
    last_read = options.after;
    threads.reserve(1 + decoders);
    try {
      threads.emplace_back([this] { read_or_fail(); });
      for (std::size_t i = 0; i < decoders; ++i) threads.emplace_back([this] { decode_all(); });
    } catch (const std::exception&) {
      const std::lock_guard guard(mutex);
      crippled = threads.size() < 2;  // fewer decoders do
    }
  }
  ~pipeline() {
    {
      const std::lock_guard guard(mutex);
      ended = true;
    }
    changed.notify_all();
    for (auto& each : threads) each.join();
  }

  static log_trouble without_means(std::uint64_t seq) noexcept {
    return {seq, log_trouble::kind::file,
            core::fail(core::error_code::STORE_UNAVAILABLE, {}, "memory")};
  }

  using block_ptr = std::shared_ptr<block>;

  block_ptr fresh_block() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return ended || made < blocks_max || !spare.empty(); });
    if (ended) return nullptr;
    if (spare.empty()) {
      ++made;
      return std::make_shared<block>();
    }
    auto out = std::move(spare.back());
    spare.pop_back();
    out->clear();
    return out;
  }
  void hand_on(block_ptr what) {
    const std::lock_guard guard(mutex);
    waiting.push_back(what);  // first: what is ordered is decoded, whatever is thrown here
    ordered.push_back(std::move(what));
    changed.notify_all();
  }

  void begin(block& to, const log_row* before) {
    if (before != nullptr) {
      to.seq_before = before->seq;
      to.at_ms_before = before->at_ms;
      to.any_before = true;
      if (before->mac.size() == to.mac_before.size())
        std::copy(before->mac.begin(), before->mac.end(), to.mac_before.begin());
    } else {
      to.seq_before = options.after;
      to.any_before = options.after > 0 || options.mac_before.has_value();
      to.mac_before = options.mac_before.value_or(core::digest{});
    }
  }

  /// The row after which it begins, for its mac and time.
  core::status read_before() {
    if (options.after == 0 || options.mac_before) return core::nothing{};
    return file.read(options.after - 1, [this](const log_row& row) {
      if (row.seq == options.after && row.mac.size() == sizeof(core::digest))
        std::copy(row.mac.begin(), row.mac.end(), options.mac_before.emplace().begin());
      return false;
    });
  }

  void read_or_fail() noexcept {
    try {
      read();
    } catch (const std::exception&) {
      const std::lock_guard guard(mutex);
      unread = last_read + 1;
      changed.notify_all();
    }
  }
  void read() {
    auto went = read_before();
    auto filling = fresh_block();
    if (!filling) return;
    begin(*filling, nullptr);
    bool stopped = false;
    std::optional<log_trouble> found;
    if (went)
      went = file.read(options.after, [&](const log_row& row) {
        if (row.seq > options.until || row.at_ms > options.until_ms) return false;
        if (size_of(row) > log_row_bytes_max) {
          found = log_trouble{row.seq, log_trouble::kind::body,
                              core::fail(core::error_code::LOG_CORRUPT, {}, "size")};
          return false;
        }
        add_row(*filling, row);
        last_read = row.seq;
        if (filling->rows.size() < rows_a_block && filling->bytes.size() < bytes_a_block)
          return true;
        hand_on(std::move(filling));
        filling = fresh_block();
        stopped = filling == nullptr;
        if (!stopped) begin(*filling, &row);
        return !stopped;
      });
    if (stopped) return;
    filling->last = true;
    if (!went) found = log_trouble{last_read + 1, log_trouble::kind::file, went.error()};
    filling->trouble = found;
    hand_on(std::move(filling));
  }

  block_ptr next_to_decode() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return ended || !waiting.empty(); });
    if (ended) return nullptr;
    auto out = std::move(waiting.front());
    waiting.pop_front();
    return out;
  }
  void decode_all() noexcept {
    while (const auto mine = next_to_decode()) {
      const auto of_file = mine->trouble;  // after the rows that it has
      mine->trouble.reset();
      try {
        block_decoder(*mine, options).run();
      } catch (const std::exception&) {
        mine->trouble = without_means(mine->rows[mine->count].seq);
      }
      if (!mine->trouble) mine->trouble = of_file;
      const std::lock_guard guard(mutex);
      mine->decoded = true;
      changed.notify_all();
    }
  }

  std::span<core::event> next() {
    for (;;) {
      if (trouble || finished) return {};
      std::unique_lock lock(mutex);
      if (current) {
        spare.push_back(std::move(current));
        changed.notify_all();
      }
      changed.wait(lock, [this] {
        return crippled || (ordered.empty() ? unread.has_value() : ordered.front()->decoded);
      });
      if (crippled || ordered.empty()) {
        trouble = without_means(crippled ? options.after + 1 : *unread);
        return {};
      }
      current = std::move(ordered.front());
      ordered.pop_front();
      trouble = current->trouble;
      finished = current->last;
      if (current->count > 0) mac = current->mac;
      if (current->count > 0) return {current->events.data(), current->count};
    }
  }

  log_file& file;
  log_stream_options options;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<block_ptr> waiting, ordered;  // guarded by mutex, as are the next
  std::vector<block_ptr> spare;
  std::size_t made = 0;
  bool ended = false, crippled = false;
  std::optional<std::uint64_t> unread;  // where reading ended by what was thrown
  std::uint64_t last_read = 0;          // the reader's
  block_ptr current;                    // the caller's, as is the rest
  std::optional<log_trouble> trouble;
  bool finished = false;
  core::digest mac{};
  std::vector<std::thread> threads;
};

log_stream_options whole_log(const log_file& of) {
  log_stream_options out;
  out.mac_before = core::digest{};
  if (of.cut()) {
    out.after = of.cut()->of.seq;
    out.mac_before = of.cut()->of.mac;
  }
  return out;
}

log_stream::log_stream(log_file& from, log_stream_options options)
    : pipeline_(std::make_unique<pipeline>(from, std::move(options))) {}
log_stream::~log_stream() = default;

std::span<core::event> log_stream::next() { return pipeline_->next(); }
const std::optional<log_trouble>& log_stream::trouble() const noexcept {
  return pipeline_->trouble;
}
const core::digest& log_stream::mac() const noexcept { return pipeline_->mac; }

}  // namespace portcullis::store
