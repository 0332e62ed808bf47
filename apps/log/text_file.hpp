// Long texts in and out: files and standard streams, plain or gzip, line by line, in little memory.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace portcullis::apps {

/// Writes to a file (0600), which is there as a whole after close() and not before, or to standard
/// output.
class text_sink {
 public:
  /// `path` empty: standard output. Absent: `why` says what is wrong.
  [[nodiscard]] static std::unique_ptr<text_sink> open(const std::string& path, bool gzip,
                                                       std::string& why);
  ~text_sink();
  text_sink(const text_sink&) = delete;
  text_sink& operator=(const text_sink&) = delete;
  /// False: it cannot be written to, see why(); nothing more will be written.
  bool write(std::string_view text);
  /// Everything is written, a file durable and in its place.
  [[nodiscard]] bool close();
  [[nodiscard]] const std::string& why() const noexcept { return why_; }

 private:
  struct deflater;
  text_sink();
  bool put(std::string_view bytes);
  bool compress(std::string_view text, bool last);
  bool fail();
  std::string path_, fresh_, why_, waiting_;
  std::unique_ptr<deflater> deflater_;
  int fd_ = -1;
};

/// Reads lines of a file or of standard input; gzip is known by its first two bytes.
class line_source {
 public:
  static constexpr std::size_t line_bytes_max = 64 * 1024 * 1024;
  /// Past the end of each line there may be read (and not used), as simdjson does.
  static constexpr std::size_t padding = 64;

  /// Whether a last line without LF is one, or the sign of a file that was cut.
  enum class last_line : std::uint8_t { has_lf, may_lack_lf };

  /// `path` "-": standard input.
  [[nodiscard]] static std::unique_ptr<line_source> open(const std::string& path, std::string& why,
                                                         last_line last = last_line::has_lf);
  ~line_source();
  line_source(const line_source&) = delete;
  line_source& operator=(const line_source&) = delete;
  /// The next line without its LF, good until the next call. Absent: the end, or why() is not
  /// empty: it cannot be read, a line is longer than line_bytes_max, or the last one lacks its LF.
  [[nodiscard]] std::optional<std::string_view> next();
  /// Of the last line; from 1.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] const std::string& why() const noexcept { return why_; }

 private:
  struct inflater;
  line_source();
  /// Adds to text_; false at the end, or when why_ says what is wrong.
  bool more();
  bool read_block();
  bool inflate_block();
  std::string text_, block_, why_;
  std::size_t begin_ = 0, searched_ = 0, at_ = 0;  // of text_; at_: of block_
  std::unique_ptr<inflater> inflater_;
  bool started_ = false;
  last_line last_ = last_line::has_lf;
  int fd_ = -1;
  std::uint64_t number_ = 0;
};

}  // namespace portcullis::apps
