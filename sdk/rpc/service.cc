#include "braid/rpc/service.h"

#include "absl/strings/str_cat.h"

namespace braid::rpc::detail {

absl::Status Unimplemented(const ServerContext& context) {
  const std::string_view path = context.method().path();
  return absl::UnimplementedError(
      absl::StrCat("the server doesn't implement ",
                   absl::string_view(path.data(), path.size())));
}

}  // namespace braid::rpc::detail
