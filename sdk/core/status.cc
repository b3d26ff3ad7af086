#include "braid/core/status.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace braid {
namespace {

constexpr char kConditionUrl[] = "braid/condition";
constexpr char kSuppressedUrl[] = "braid/suppressed";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Make(absl::StatusCode code, std::string_view message, const char* condition) {
  absl::Status status(code, View(message));
  status.SetPayload(kConditionUrl, absl::Cord(condition));
  return status;
}

bool Has(const absl::Status& status, const char* condition) {
  if (status.ok()) return false;
  const auto payload = status.GetPayload(kConditionUrl);
  return payload.has_value() && *payload == condition;
}

// A payload is bytes: a list of records, each a code, the message, and the payloads; lengths are 64 bits, little-endian.
void PutNumber(std::string& out, uint64_t number) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
}
void PutString(std::string& out, std::string_view text) {
  PutNumber(out, text.size());
  out.append(text);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return bytes_.empty(); }
  // False once the bytes end early.
  bool ok() const { return ok_; }

  uint64_t Number() {
    if (bytes_.size() < 8) {
      bytes_ = {};
      ok_ = false;
      return 0;
    }
    uint64_t number = 0;
    for (int i = 7; i >= 0; --i) number = number << 8 | static_cast<unsigned char>(bytes_[i]);
    bytes_.remove_prefix(8);
    return number;
  }
  std::string_view String() {
    const uint64_t size = Number();
    if (size > bytes_.size()) {
      bytes_ = {};
      ok_ = false;
      return {};
    }
    std::string_view text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return text;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void Put(std::string& out, const absl::Status& status) {
  PutNumber(out, static_cast<uint64_t>(status.raw_code()));
  PutString(out, {status.message().data(), status.message().size()});
  std::string payloads;
  uint64_t count = 0;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    ++count;
    PutString(payloads, {url.data(), url.size()});
    PutString(payloads, std::string(payload));
  });
  PutNumber(out, count);
  out += payloads;
}

}  // namespace

absl::Status ClosedError(std::string_view message) {
  return Make(absl::StatusCode::kFailedPrecondition, message, "closed");
}
bool IsClosed(const absl::Status& status) { return Has(status, "closed"); }

absl::Status BrokenError(std::string_view message) { return Make(absl::StatusCode::kUnavailable, message, "broken"); }
bool IsBroken(const absl::Status& status) { return Has(status, "broken"); }

absl::Status BusyError(std::string_view message) { return Make(absl::StatusCode::kFailedPrecondition, message, "busy"); }
bool IsBusy(const absl::Status& status) { return Has(status, "busy"); }

absl::Status WouldBlockError(std::string_view message) {
  return Make(absl::StatusCode::kResourceExhausted, message, "would block");
}
bool IsWouldBlock(const absl::Status& status) { return Has(status, "would block"); }

absl::Status IncompleteReadError(std::string_view message) {
  return Make(absl::StatusCode::kOutOfRange, message, "incomplete read");
}
bool IsIncompleteRead(const absl::Status& status) { return Has(status, "incomplete read"); }

absl::Status DelimiterNotFoundError(std::string_view message) {
  return Make(absl::StatusCode::kResourceExhausted, message, "delimiter not found");
}
bool IsDelimiterNotFound(const absl::Status& status) { return Has(status, "delimiter not found"); }

std::vector<absl::Status> SuppressedErrors(const absl::Status& status) {
  std::vector<absl::Status> errors;
  const auto payload = status.GetPayload(kSuppressedUrl);
  if (!payload.has_value()) return errors;
  const std::string bytes(*payload);
  Reader reader(bytes);
  while (!reader.done()) {
    const auto code = static_cast<absl::StatusCode>(reader.Number());
    const std::string_view message = reader.String();
    absl::Status error(code, View(message));
    for (uint64_t left = reader.Number(); left > 0 && reader.ok(); --left) {
      const std::string_view url = reader.String();
      error.SetPayload(View(url), absl::Cord(View(reader.String())));
    }
    if (!reader.ok()) break;
    errors.push_back(std::move(error));
  }
  return errors;
}

absl::Status WithSuppressed(absl::Status status, const std::vector<absl::Status>& suppressed) {
  if (status.ok() || suppressed.empty()) return status;
  std::string bytes;
  if (const auto payload = status.GetPayload(kSuppressedUrl); payload.has_value()) bytes = std::string(*payload);
  for (const absl::Status& error : suppressed) Put(bytes, error);
  status.SetPayload(kSuppressedUrl, absl::Cord(bytes));
  return status;
}

}  // namespace braid
