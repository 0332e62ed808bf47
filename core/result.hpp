// A value or an error of the one table. No exception crosses a room's door.
#pragma once
#include <utility>
#include <variant>

#include "core/error/catalogue.hpp"

namespace portcullis::core {

template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(core::error why) : state_(std::in_place_index<1>, why) {}

  [[nodiscard]] explicit operator bool() const noexcept { return state_.index() == 0; }
  [[nodiscard]] T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const T* operator->() const noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const core::error& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, core::error> state_;
};

struct nothing {};
using status = result<nothing>;

}  // namespace portcullis::core
