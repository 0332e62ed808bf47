// The series circuit_breaker_*. Unlike all others, breakers come and go, and their names are label
// values: so they stand apart from the registry, under a cap.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "monitoring/metrics_table.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::monitoring {

/// service and breaker of all that have no series of their own. Nobody's own: a breaker whose
/// service is called so is among them.
inline constexpr std::string_view overflow_label = "__overflow__";

/// One thread. A breaker's counters begin at zero with its life. They go on over its shard's
/// restart, and end when it is retired; one that comes again begins a new life.
class breaker_series {
 public:
  using constant_labels = std::map<std::string, std::string, std::less<>>;
  /// At most `most` breakers have series of their own: those that there are first, by number.
  breaker_series(const constant_labels& constant, std::uint32_t most);

  /// Takes over what the shards say, each at its place. A shard that is not there keeps what it
  /// had.
  void update(std::span<const breaker_shard_tallies> now);

  /// Every row of breakers as text, without series where there is no breaker.
  void append_to(std::string& page) const;

  /// How often a breaker came past the cap.
  [[nodiscard]] std::uint64_t overflows() const noexcept { return overflows_; }

 private:
  struct life {
    breaker_reading last;         // counters: what the next reading is compared with
    core::breaker_tallies shown;  // by its own series
    bool own = false;             // has them
    bool over = false;            // had none when it came
    bool there = false;           // in the reading under way
  };
  struct shard {
    std::optional<std::uint64_t> incarnation;
    std::map<std::uint64_t, life> lives;  // by number
    /// Of the incarnation before, not seen since: who comes again goes on.
    std::map<std::pair<std::string, std::string>, life> lost;
  };
  struct target;  // what one or all of a kind show
  class family;   // one row's text

  life& life_of(shard& of, const breaker_reading& reading);
  static void restart(shard& of);
  [[nodiscard]] static std::string escaped(std::string_view value);
  [[nodiscard]] static core::breaker_tallies sum_of(core::breaker_tallies one,
                                                    const core::breaker_tallies& other);
  [[nodiscard]] std::vector<target> targets() const;

  template <class Write>
  void append_row(metric id, std::span<const target> of, std::string& to, Write&& write) const;
  void append_levels(std::span<const target> of, std::string& to) const;  // of one each
  void append_calls(std::span<const target> of, std::string& to) const;
  void append_without_source(std::span<const target> of, std::string& to) const;

  std::string constant_;  // labels as they are written
  std::size_t most_;
  std::vector<shard> shards_;
  std::array<core::breaker_tallies, core::breaker_kind_names.size()> overflow_;
  std::array<bool, core::breaker_kind_names.size()> overflowed_{};
  std::uint64_t overflows_ = 0;
};

}  // namespace portcullis::monitoring
