// GroupError: what a group or combinator throws when several of its tasks
// failed, and at least one of them with an exception.
//
// A single exception is rethrown as itself, and several error statuses are one
// absl::Status (SuppressedErrors gives the others).

#ifndef BRAID_CORE_GROUP_ERROR_H_
#define BRAID_CORE_GROUP_ERROR_H_

#include <exception>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace braid {

// `what()` lists all failures. Each kind is in the order it happened.
class GroupError : public std::exception {
 public:
  GroupError(std::vector<std::exception_ptr> exceptions,
             std::vector<absl::Status> statuses);
  const char* what() const noexcept override { return what_.c_str(); }
  const std::vector<std::exception_ptr>& exceptions() const {
    return exceptions_;
  }
  const std::vector<absl::Status>& statuses() const { return statuses_; }

 private:
  std::vector<std::exception_ptr> exceptions_;
  std::vector<absl::Status> statuses_;
  std::string what_;
};

}  // namespace braid

#endif  // BRAID_CORE_GROUP_ERROR_H_
