// What a description keeps until its awaiter is made from it.
//
// A std::tuple would do. It costs every header that names an operation so much
// compile time that this is measured (header_cost of tools/bench).

#ifndef BRAID_CORE_DETAIL_PACK_H_
#define BRAID_CORE_DETAIL_PACK_H_

#include <utility>

namespace braid::detail {

template <typename... Ts>
class Pack;

template <>
class Pack<> {
 public:
  template <typename F, typename... Us>
  auto MoveInto(F function, Us&&... values) {
    return function(std::forward<Us>(values)...);
  }
};

template <typename T, typename... Ts>
class Pack<T, Ts...> {
 public:
  explicit Pack(T&& first, Ts&&... rest)
      : first_(std::move(first)), rest_(std::move(rest)...) {}

  // `function(values...)`, each moved.
  template <typename F, typename... Us>
  auto MoveInto(F function, Us&&... values) {
    return rest_.MoveInto(function, std::forward<Us>(values)...,
                          std::move(first_));
  }

 private:
  T first_;
  [[no_unique_address]] Pack<Ts...> rest_;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_PACK_H_
