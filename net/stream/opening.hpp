// What comes before the first message of a connection: a PROXY header where the listener asks for
// one, then TLS where it speaks it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/contract/address_set.hpp"
#include "core/error/catalogue.hpp"
#include "core/tallies.hpp"
#include "net/ports.hpp"
#include "net/stream/stream.hpp"
#include "net/tls/context.hpp"

namespace portcullis::net {

/// How the connections of a listener begin.
struct opening_rules {
  bool proxy = false;
  core::address_set proxy_sources;  // who may send a PROXY header
  tls_contexts* tls = nullptr;      // null: plain; must outlive the listener
  tls_use use = tls_use::rpc;

  [[nodiscard]] bool immediate() const noexcept { return !proxy && tls == nullptr; }
};

/// How a listener takes connections.
struct listener_rules {
  std::size_t connections_max = ~std::size_t{0};  // of this loop and listener
  opening_rules opening;
};

/// A connection that was turned away, or cut off before its first message.
struct refusal {
  core::listener at = core::listener::rpc;
  core::rejection why = core::rejection::protocol;
  std::optional<core::tls_failure> how;  // of the handshake
  core::ip_address from;                 // its own, or whom a PROXY header names
};
/// Takes note of refusals, on the thread of the loop that refuses. Must return soon.
using refusal_port = std::function<void(const refusal&)>;

/// What an opening found out.
struct opened {
  std::optional<core::ip_address> source;  // from a PROXY header; absent: the connection's own
  std::string ja3, ja4;                    // empty: no TLS
  std::optional<peer_certificate> certificate;
};

/// One connection's beginning. Single thread. Holds what has come of a PROXY header (at most
/// limits::proxy_header_bytes_max), then of a ClientHello, twice (limits::client_hello_bytes_max,
/// and half as much more with the headers of its records), until that is whole; only then OpenSSL
/// is asked for anything, so that a flood of half ones costs little.
class opening {
 public:
  enum class status : std::uint8_t {
    waiting,  // for the socket: readable, or with unsent() also writable
    sourced,  // the PROXY header is there, TLS follows: found().source is to be judged, then go on
    done,     // the stream is ready for messages; found() is there
    refused,  // close it; why() and, where the peer can be told, in_clear() say more
  };

  /// `rules` must outlive it. Where they ask for a PROXY header, the connection must come from one
  /// of their sources.
  explicit opening(const opening_rules& rules);
  ~opening();

  /// Does what can be done now.
  [[nodiscard]] status advance(stream& on, core::tls_tallies& tallies);
  /// Whether bytes of the handshake wait for the socket.
  [[nodiscard]] bool unsent() const noexcept;
  /// The time is over.
  void expire(core::tls_tallies& tallies) noexcept;

  [[nodiscard]] opened& found() noexcept { return found_; }
  [[nodiscard]] core::rejection why() const noexcept { return why_; }
  /// How the handshake failed; absent: it did not.
  [[nodiscard]] const std::optional<core::tls_failure>& how() const noexcept { return how_; }
  /// What to tell a peer that speaks no TLS where it must.
  [[nodiscard]] const std::optional<core::error>& in_clear() const noexcept { return in_clear_; }

 private:
  enum class phase : std::uint8_t { proxy, hello, handshake };

  [[nodiscard]] status refuse(core::rejection why) noexcept;
  [[nodiscard]] status fail_tls(core::tls_failure how, core::tls_tallies& tallies) noexcept;
  [[nodiscard]] status read_proxy(stream& on);
  [[nodiscard]] status read_hello(stream& on, core::tls_tallies& tallies);
  [[nodiscard]] status plain_text(core::tls_tallies& tallies);
  [[nodiscard]] status start_handshake(stream& on, core::tls_tallies& tallies);
  [[nodiscard]] status shake_hands(stream& on, core::tls_tallies& tallies);
  [[nodiscard]] bool flush(stream& on);
  [[nodiscard]] status step(stream& on, core::tls_tallies& tallies);
  [[nodiscard]] status finish(stream& on, core::tls_tallies& tallies);

  struct hello_reader;
  const opening_rules& rules_;
  phase phase_;
  std::string head_;  // what has come of the PROXY header, then of the ClientHello
  std::unique_ptr<hello_reader> hello_;
  std::unique_ptr<tls_session> session_;
  opened found_;
  core::rejection why_ = core::rejection::protocol;
  std::optional<core::tls_failure> how_;
  std::optional<core::error> in_clear_;
};

}  // namespace portcullis::net
