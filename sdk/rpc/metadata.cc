#include "braid/rpc/metadata.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace braid::rpc {
namespace {

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

bool IsReserved(std::string_view key) {
  constexpr std::string_view kOfHttp[] = {
      "connection", "content-length",    "content-type", "host", "keep-alive",
      "te",         "transfer-encoding", "upgrade",
  };
  return key.starts_with("grpc-") ||
         std::find(std::begin(kOfHttp), std::end(kOfHttp), key) !=
             std::end(kOfHttp);
}

absl::Status Bad(std::string_view key, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "metadata key \"", absl::CHexEscape({key.data(), key.size()}), "\" ",
      absl::string_view(why.data(), why.size())));
}

}  // namespace

void Metadata::Add(std::string_view key, std::string_view value) {
  entries_.emplace_back(key, value);
  absl::AsciiStrToLower(&entries_.back().key);
}

std::optional<std::string_view> Metadata::Get(std::string_view key) const {
  for (const Entry& entry : entries_) {
    if (entry.key == key) return entry.value;
  }
  return std::nullopt;
}

std::vector<std::string_view> Metadata::GetAll(std::string_view key) const {
  std::vector<std::string_view> values;
  for (const Entry& entry : entries_) {
    if (entry.key == key) values.push_back(entry.value);
  }
  return values;
}

absl::Status Metadata::Validate() const {
  for (const Entry& entry : entries_) {
    const std::string_view key = entry.key;
    if (key.empty() || !std::all_of(key.begin(), key.end(), IsKeyCharacter)) {
      return Bad(key,
                 "can't be sent: use lower-case letters, digits, '_', '-' and "
                 "'.' only");
    }
    if (IsReserved(key)) return Bad(key, "belongs to the protocol");
    if (key.ends_with("-bin")) continue;
    if (!std::all_of(entry.value.begin(), entry.value.end(),
                     [](char c) { return c >= ' ' && c <= '~'; })) {
      return Bad(key,
                 "has a value that isn't printable ASCII: end the key in "
                 "\"-bin\" to send bytes");
    }
  }
  return absl::OkStatus();
}

}  // namespace braid::rpc
