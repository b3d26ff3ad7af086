#include "braid/rpc/detail/wire_status.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "sdk/rpc/detail/status_details.pb.h"

namespace braid::rpc::detail {
namespace {

// What core/status.h marks conditions of this process with.
constexpr std::string_view kOwnPayloads = "braid/";

// The longest beginning of `text` within `limit` bytes that ends at a whole
// UTF-8 character.
std::string_view Cut(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 &&
         (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) {
    --limit;
  }
  return text.substr(0, limit);
}

}  // namespace

std::string StatusMessage(const absl::Status& status) {
  const std::string_view text(status.message().data(), status.message().size());
  const std::string_view cut = Cut(text, kMaxStatusMessage);
  std::string message(cut);
  if (cut.size() < text.size()) message += "...";
  return message;
}

std::string StatusDetailBytes(const absl::Status& status) {
  StatusDetails details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (std::string_view(url.data(), url.size()).starts_with(kOwnPayloads)) {
      return;
    }
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(std::string(url));
    detail.set_value(std::string(payload));
  });
  if (details.details().empty()) return "";
  details.set_code(status.raw_code());
  details.set_message(StatusMessage(status));
  if (details.ByteSizeLong() > kMaxStatusDetails) return "";
  return details.SerializeAsString();
}

absl::Status MakeStatus(int code, std::string_view message,
                        std::string_view details) {
  if (code == 0) return absl::OkStatus();
  if (code < 0 || code > static_cast<int>(absl::StatusCode::kUnauthenticated)) {
    return absl::UnknownError(
        absl::StrCat("status ", code, ", which isn't known here: ",
                     absl::string_view(message.data(), message.size())));
  }
  absl::Status status(static_cast<absl::StatusCode>(code),
                      {message.data(), message.size()});
  StatusDetails parsed;
  if (details.empty() ||
      !parsed.ParseFromArray(details.data(),
                             static_cast<int>(details.size()))) {
    return status;
  }
  for (const google::protobuf::Any& detail : parsed.details()) {
    if (std::string_view(detail.type_url()).starts_with(kOwnPayloads)) continue;
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return status;
}

}  // namespace braid::rpc::detail
