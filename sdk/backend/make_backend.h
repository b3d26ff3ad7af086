// MakeBackend: the backend of a name, as --backend= gives it.

#ifndef BRAID_BACKEND_MAKE_BACKEND_H_
#define BRAID_BACKEND_MAKE_BACKEND_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "braid/backend/backend.h"

namespace braid {

// "asio"; "uring", whose status says why where io_uring can't be used; "sim", a
// simulation of one host (sim/sim_backend.h); or "auto", which is uring where
// it can be used, and asio otherwise. Any other name is INVALID_ARGUMENT that
// lists them.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(
    std::string_view name = "auto");

}  // namespace braid

#endif  // BRAID_BACKEND_MAKE_BACKEND_H_
