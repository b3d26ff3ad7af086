// ResourceGuard: tells the second task that uses something at the same time.
//
//   class Connection {
//     Task<absl::Status> Send(Message message) {
//       auto use = co_await OrReturn(sending_.Enter());
//       ...                                    // until `use` is destroyed
//     }
//     ResourceGuard sending_{"sending on this connection"};
//   };
//
// For: objects that one task at a time may use in a certain way, where waiting
// in line would only hide a mistake of the caller. To wait in line, use Mutex.
// Threads: those of one loop.

#ifndef BRAID_SYNC_RESOURCE_GUARD_H_
#define BRAID_SYNC_RESOURCE_GUARD_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "braid/core/check.h"

namespace braid {

class ResourceGuard {
 public:
  // The use of the resource by one task: until this is destroyed.
  class [[nodiscard("the use of the resource ends at once")]] Use {
   public:
    Use(Use&& other) noexcept : guard_(std::exchange(other.guard_, nullptr)) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(guard_, other.guard_);
      return *this;
    }
    ~Use() {
      if (guard_ != nullptr) guard_->in_use_ = false;
    }

   private:
    friend class ResourceGuard;
    explicit Use(ResourceGuard* guard) : guard_(guard) {
      guard->in_use_ = true;
    }
    ResourceGuard* guard_;
  };

  // `action` completes "another task is already ...".
  explicit ResourceGuard(std::string_view action = "using this resource")
      : action_(action) {}
  ResourceGuard(const ResourceGuard&) = delete;
  ResourceGuard& operator=(const ResourceGuard&) = delete;
  ~ResourceGuard() {
    detail::Check(!in_use_,
                  "a resource guard is destroyed while the resource is in use; "
                  "let it outlive the use");
  }

  // Begins a use; BusyError (IsBusy) if another has not ended. Doesn't wait and
  // is no checkpoint.
  absl::StatusOr<Use> Enter() {
    if (in_use_) [[unlikely]] {
      return Busy();
    }
    return Use(this);
  }

  bool in_use() const { return in_use_; }

 private:
  absl::Status Busy() const;

  std::string action_;
  bool in_use_ = false;
};

}  // namespace braid

#endif  // BRAID_SYNC_RESOURCE_GUARD_H_
