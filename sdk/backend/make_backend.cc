#include "braid/backend/make_backend.h"

#include <string>

#include "braid/backend/asio/asio_backend.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/uring/uring_backend.h"

namespace braid {

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::string_view name) {
  if (name == "asio") return MakeAsioBackend();
  if (name == "uring") return MakeUringBackend();
  if (name == "sim") return MakeSimBackend();
  if (name == "auto") {
    absl::StatusOr<std::unique_ptr<Backend>> uring = MakeUringBackend();
    return uring.ok() ? std::move(uring) : MakeAsioBackend();
  }
  return absl::InvalidArgumentError("there is no backend '" +
                                    std::string(name) +
                                    "'; it is one of asio, uring, sim, auto");
}

}  // namespace braid
