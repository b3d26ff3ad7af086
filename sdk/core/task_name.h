// TaskName: what a task is called in the task tree, in logs and in errors.
//
//   group.Start("reader", Read);                     // a literal costs nothing
//   group.Start("client " + peer.ToString(), Serve);  // a string is copied

#ifndef BRAID_CORE_TASK_NAME_H_
#define BRAID_CORE_TASK_NAME_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace braid {

class TaskName {
 public:
  template <size_t N>
  // NOLINTNEXTLINE(google-explicit-constructor)
  consteval TaskName(const char (&literal)[N])
      : data_(literal), size_(N - 1), owned_(false) {}
  template <typename S>
    requires std::same_as<S, std::string> || std::same_as<S, std::string_view>
  TaskName(const S& name)  // NOLINT(google-explicit-constructor)
      : data_(Copy(name)),
        size_(static_cast<uint32_t>(name.size())),
        owned_(true) {}
  TaskName(TaskName&& other) noexcept
      : data_(other.data_),
        size_(other.size_),
        owned_(std::exchange(other.owned_, false)) {}
  TaskName& operator=(TaskName&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owned_, other.owned_);
    return *this;
  }
  ~TaskName() {
    if (owned_) Free(data_);
  }

  std::string_view view() const { return {data_, size_}; }

 private:
  static const char* Copy(std::string_view name);
  static void Free(const char* copy) noexcept;

  const char* data_;
  uint32_t size_;
  bool owned_;
};

}  // namespace braid

#endif  // BRAID_CORE_TASK_NAME_H_
