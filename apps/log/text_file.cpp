#include "apps/log/text_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "store/sync_folder.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t block_bytes = 256 * 1024;
constexpr int gzip_window = 15 + 16;  // zlib's way to ask for gzip's header and trailer

std::string because(const std::string& what) {
  return fmt::format("{}: {}", what, std::strerror(errno));
}

}  // namespace

struct text_sink::deflater {
  z_stream stream{};
  bool ready = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8,
                            Z_DEFAULT_STRATEGY) == Z_OK;
  ~deflater() { deflateEnd(&stream); }
};

text_sink::text_sink() = default;

text_sink::~text_sink() {
  if (fd_ > STDOUT_FILENO) ::close(fd_);
  if (!fresh_.empty()) unlink(fresh_.c_str());
}

std::unique_ptr<text_sink> text_sink::open(const std::string& path, bool gzip, std::string& why) {
  std::unique_ptr<text_sink> made(new text_sink);
  made->path_ = path.empty() ? "standard output" : path;
  made->fd_ = STDOUT_FILENO;
  if (!path.empty()) {
    struct stat info {};
    // What is no file, such as a pipe or /dev/null, is written to as it is.
    const bool special = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
    const auto fresh = special ? path : path + ".partial";
    // Whatever else is there, of an export that was killed or of somebody else, is not written to.
    if (!special) unlink(fresh.c_str());
    const int flags = special ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    made->fd_ = ::open(fresh.c_str(), flags | O_CLOEXEC, 0600);
    if (made->fd_ < 0) {
      why = because(fresh);
      return nullptr;
    }
    if (!special) made->fresh_ = fresh;
  }
  if (gzip) {
    made->deflater_ = std::make_unique<deflater>();
    if (!made->deflater_->ready) {
      why = "there is no memory for compressing";
      return nullptr;
    }
  }
  return made;
}

bool text_sink::fail() {
  if (why_.empty()) why_ = because(path_);
  return false;
}

bool text_sink::put(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail();
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

bool text_sink::compress(std::string_view text, bool last) {
  auto& s = deflater_->stream;
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  s.avail_in = static_cast<uInt>(text.size());
  char out[block_bytes / 4];
  int rc = Z_OK;
  do {
    s.next_out = reinterpret_cast<Bytef*>(out);
    s.avail_out = sizeof out;
    rc = deflate(&s, last ? Z_FINISH : Z_NO_FLUSH);
    if (!put({out, sizeof out - s.avail_out})) return false;
  } while (s.avail_out == 0 || (last && rc != Z_STREAM_END));
  return true;
}

bool text_sink::write(std::string_view text) {
  if (!why_.empty()) return false;
  waiting_.append(text);
  if (waiting_.size() < block_bytes) return true;
  const bool written = deflater_ ? compress(waiting_, false) : put(waiting_);
  waiting_.clear();
  return written;
}

bool text_sink::close() {
  if (!why_.empty()) return false;
  if (!(deflater_ ? compress(waiting_, true) : put(waiting_))) return false;
  waiting_.clear();
  if (fresh_.empty()) return true;
  if (fsync(fd_) != 0 || rename(fresh_.c_str(), path_.c_str()) != 0) return fail();
  fresh_.clear();
  (void)store::sync_folder(store::folder_of(path_));  // some file systems cannot
  return true;
}

struct line_source::inflater {
  z_stream stream{};
  bool ready = inflateInit2(&stream, gzip_window) == Z_OK;
  bool between = false;  // members of a file that was put together from several
  ~inflater() { inflateEnd(&stream); }
};

line_source::line_source() = default;

line_source::~line_source() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
}

std::unique_ptr<line_source> line_source::open(const std::string& path, std::string& why,
                                               last_line last) {
  std::unique_ptr<line_source> made(new line_source);
  made->last_ = last;
  made->fd_ = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  const bool folder = made->fd_ >= 0 && fstat(made->fd_, &info) == 0 && S_ISDIR(info.st_mode);
  if (folder) errno = EISDIR;
  if (made->fd_ < 0 || folder) {
    why = because(path);
    return nullptr;
  }
  return made;
}

/// Into block_, after what has not been used of it.
bool line_source::read_block() {
  block_.erase(0, at_);
  at_ = 0;
  const auto before = block_.size();
  block_.resize(before + block_bytes);
  ssize_t got = 0;
  do got = ::read(fd_, block_.data() + before, block_bytes);
  while (got < 0 && errno == EINTR);
  block_.resize(before + (got > 0 ? static_cast<std::size_t>(got) : 0));
  if (got < 0) why_ = because("reading");
  return got > 0;
}

bool line_source::inflate_block() {
  auto& s = inflater_->stream;
  for (;;) {
    if (at_ == block_.size() && !read_block()) {
      if (why_.empty() && !inflater_->between) why_ = "the gzip data ends too early: it was cut";
      return false;
    }
    if (std::exchange(inflater_->between, false)) inflateReset(&s);
    s.next_in = reinterpret_cast<Bytef*>(block_.data() + at_);
    s.avail_in = static_cast<uInt>(block_.size() - at_);
    const auto before = text_.size();
    text_.resize(before + block_bytes);
    s.next_out = reinterpret_cast<Bytef*>(text_.data() + before);
    s.avail_out = static_cast<uInt>(block_bytes);
    const int rc = inflate(&s, Z_NO_FLUSH);
    at_ = block_.size() - s.avail_in;
    text_.resize(before + block_bytes - s.avail_out);
    if (rc == Z_STREAM_END) inflater_->between = true;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
      why_ = fmt::format("the gzip data is damaged ({})", s.msg == nullptr ? "no reason" : s.msg);
      return false;
    }
    if (text_.size() > before) return true;
  }
}

bool line_source::more() {
  if (!started_) {
    started_ = true;
    while (block_.size() < 2 && read_block()) {
    }
    if (!why_.empty()) return false;
    if (block_.starts_with("\x1f\x8b")) {
      inflater_ = std::make_unique<inflater>();
      if (!inflater_->ready) why_ = "there is no memory for uncompressing";
    }
  }
  if (!why_.empty()) return false;
  if (inflater_) return inflate_block();
  if (at_ == block_.size() && !read_block()) return false;
  text_.append(block_, at_, std::string::npos);
  at_ = block_.size();
  return true;
}

std::optional<std::string_view> line_source::next() {
  if (!why_.empty()) return std::nullopt;
  for (;;) {
    if (const auto end = text_.find('\n', searched_); end != std::string::npos) {
      const auto begin = std::exchange(begin_, end + 1);
      searched_ = begin_;
      ++number_;
      text_.reserve(text_.size() + padding);
      return std::string_view(text_).substr(begin, end - begin);
    }
    text_.erase(0, begin_);
    begin_ = 0;
    searched_ = text_.size();
    if (searched_ > line_bytes_max) {
      ++number_;
      why_ = fmt::format("is longer than {} MiB", line_bytes_max / (1024 * 1024));
      return std::nullopt;
    }
    if (more()) continue;
    if (!why_.empty() || text_.empty()) return std::nullopt;
    if (last_ == last_line::may_lack_lf) {
      text_ += '\n';
      continue;
    }
    ++number_;
    why_ = "ends in the middle: the file was cut";
    return std::nullopt;
  }
}

}  // namespace portcullis::apps
