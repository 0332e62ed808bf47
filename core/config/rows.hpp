// How the rows of the table are written: one line a key, whose member is named once. For this
// folder alone.
#pragma once
#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/config/names.hpp"
#include "core/config/table.hpp"

namespace portcullis::core::rows {

using place = config_place;

inline constexpr std::span<const std::string_view> granted_roles = std::span(role_names).subspan(1);

// Each access is made from one lambda that finds the value, so that a row names its member once.
template <auto At>
inline constexpr key_access plain_access = {
    [](const place& p) { return config_value{At(p)}; },
    [](const place& p, const config_value& v) {
      At(p) = std::get<std::remove_reference_t<decltype(At(p))>>(v);
    }};

template <auto At>
inline constexpr key_access integer_access = {
    [](const place& p) { return config_value{static_cast<std::int64_t>(At(p))}; },
    [](const place& p, const config_value& v) {
      At(p) = static_cast<std::remove_reference_t<decltype(At(p))>>(std::get<std::int64_t>(v));
    }};

// Seconds outside, milliseconds inside.
template <auto At>
inline constexpr key_access seconds_access = {
    [](const place& p) {  // the store's own default is half a second
      const auto ms = std::int64_t{At(p)};
      return ms % 1000 == 0 ? config_value{ms / 1000}
                            : config_value{static_cast<double>(ms) / 1000};
    },
    [](const place& p, const config_value& v) { At(p) = std::get<std::int64_t>(v) * 1000; }};

template <auto At, const auto& Names>
inline constexpr key_access choice_access = {
    [](const place& p) {
      return config_value{std::string(Names[static_cast<std::size_t>(At(p))])};
    },
    [](const place& p, const config_value& v) {
      const auto found = std::find(Names.begin(), Names.end(), std::get<std::string>(v));
      using choice = std::remove_reference_t<decltype(At(p))>;
      At(p) = static_cast<choice>(std::distance(Names.begin(), found));
    }};

template <auto At>
inline constexpr key_access fields_access = {
    [](const place& p) {
      std::vector<std::string> names;
      for (std::size_t i = 0; i < context_field_count; ++i)
        if ((At(p) & bit(static_cast<context_field>(i))) != 0)
          names.emplace_back(context_field_names[i]);
      return config_value{std::move(names)};
    },
    [](const place& p, const config_value& v) {
      field_set set = 0;
      for (const auto& name : std::get<std::vector<std::string>>(v))
        set = static_cast<field_set>(set | bit(*parse_context_field(name)));
      At(p) = set;
    }};

template <auto At>
inline constexpr key_access digest_access = {
    [](const place& p) { return config_value{to_hex(At(p))}; },
    [](const place& p, const config_value& v) {
      // The form was checked; a false return here would be a bug
      // of the table.
      if (!from_hex(std::get<std::string>(v), At(p))) __builtin_trap();
    }};

// Values under a name of the user's are made when they are first looked at.
inline constexpr auto level_of_component = [](const place& p) -> auto& {
  return p.whole->log.levels[std::string(p.name)];
};
inline constexpr auto constant_label = [](const place& p) -> auto& {
  return p.whole->metrics.labels[std::string(p.name)];
};

#define AT(member) \
  [](const place& p) -> auto& { return p.member; }
#define KEY_INTEGER(name, scope, least, most, reloadable, member, help)                        \
  {                                                                                            \
    name, key_scope::scope, key_form::integer, least, most, {}, nullptr, {}, reloadable, help, \
        integer_access<AT(member)>                                                             \
  }
#define KEY_SECONDS(name, scope, least, most, member, help)                              \
  {                                                                                      \
    name, key_scope::scope, key_form::integer, least, most, {}, nullptr, {}, true, help, \
        seconds_access<AT(member)>                                                       \
  }
#define KEY_NUMBER(name, scope, range, member, help)                             \
  {                                                                              \
    name, key_scope::scope, key_form::number, 0, 0, {}, nullptr, {}, true, help, \
        plain_access<AT(member)>, range                                          \
  }
#define KEY_BOOLEAN(name, scope, reloadable, member, help)                              \
  {                                                                                     \
    name, key_scope::scope, key_form::boolean, 0, 0, {}, nullptr, {}, reloadable, help, \
        plain_access<AT(member)>                                                        \
  }
#define KEY_TEXT(name, scope, least, most, accepts, expected, reloadable, member, help)           \
  {                                                                                               \
    name, key_scope::scope, key_form::text, least, most, {}, accepts, expected, reloadable, help, \
        plain_access<AT(member)>                                                                  \
  }
#define KEY_CHOICE(name, scope, names, reloadable, member, help)                          \
  {                                                                                       \
    name, key_scope::scope, key_form::choice, 0, 0, names, nullptr, {}, reloadable, help, \
        choice_access<AT(member), names>                                                  \
  }
#define KEY_LIST(name, scope, least, most, accepts, expected, reloadable, member, help)           \
  {                                                                                               \
    name, key_scope::scope, key_form::list, least, most, {}, accepts, expected, reloadable, help, \
        plain_access<AT(member)>                                                                  \
  }
#define KEY_FIELDS(name, reloadable, member, help)                                      \
  {                                                                                     \
    name, key_scope::policy, key_form::choices, 0, 0, context_field_names, nullptr, {}, \
        reloadable, help, fields_access<AT(member)>                                     \
  }

// Who somebody is: the same for tokens and certificates.
#define KEYS_CALLER(scope)                                                                        \
  KEY_TEXT("auth." #scope ".name", scope, 1, 64, is_node_name,                                    \
           "1 to 64 of A-Z, a-z, 0-9, _ . and -", true, scope->name,                              \
           "Who this is, in events and logs. Required, unique."),                                 \
      {"auth." #scope ".role",                                                                    \
       key_scope::scope,                                                                          \
       key_form::choice,                                                                          \
       0,                                                                                         \
       0,                                                                                         \
       granted_roles,                                                                             \
       nullptr,                                                                                   \
       {},                                                                                        \
       true,                                                                                      \
       "What the caller may do. Required.",                                                       \
       choice_access<AT(scope->role), role_names>},                                               \
      KEY_LIST("auth." #scope ".tenants", scope, 1, limits::tenant_id_bytes_max, nullptr, {},     \
               true, scope->tenants, "Tenants that the caller sees. Empty: all."),                \
      KEY_LIST("auth." #scope ".services", scope, 1, limits::breaker_name_bytes_max, nullptr, {}, \
               true, scope->services, "Services whose breakers the caller sees. Empty: all.")

inline constexpr auto field_words = "letters, digits and - _ . or nothing";
inline constexpr auto prefix_words =
    "a list of addresses and networks, such as \"10.0.0.0/8\", \"::1\"";
inline constexpr auto host_words = "a list of host names without port";
inline constexpr auto origin_words = "a list of origins, such as \"https://console.example\"";

inline constexpr std::int64_t day_s = 86'400, year_s = 365 * day_s;
inline constexpr number_range rate = {0, 1, true}, jitter = {0, 0.5};
inline constexpr auto address_words =
    "an address and a port, such as \"127.0.0.1:7420\" or \"[::1]:7420\"";

inline constexpr auto component_words =
    "one of server, config, net, http, auth, session, lockout, breaker, events, store, actors, "
    "metrics, "
    "log";

}  // namespace portcullis::core::rows

namespace portcullis::core {

/// The rows of listeners and of who may come in: listen, tls, auth, authz.
[[nodiscard]] std::span<const config_key> door_rows() noexcept;
/// All others.
[[nodiscard]] std::span<const config_key> node_rows() noexcept;

}  // namespace portcullis::core
