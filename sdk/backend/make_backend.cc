#include "braid/backend/make_backend.h"

#include <string>

#include "braid/backend/asio/asio_backend.h"

namespace braid {

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(std::string_view name) {
  if (name == "asio" || name == "auto") return MakeAsioBackend();
  return absl::InvalidArgumentError("there is no backend '" +
                                    std::string(name) +
                                    "'; it is one of asio, auto");
}

}  // namespace braid
