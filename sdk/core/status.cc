#include "braid/core/status.h"

#include <new>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace braid {
namespace {

constexpr char kConditionUrl[] = "braid/condition";
constexpr char kSuppressedUrl[] = "braid/suppressed";

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

absl::Status Make(absl::StatusCode code, std::string_view message,
                  const char* condition) noexcept {
  return detail::MakeStatus(code, [&] {
    absl::Status status(code, View(message));
    status.SetPayload(kConditionUrl, absl::Cord(condition));
    return status;
  });
}

bool Has(const absl::Status& status, const char* condition) {
  if (status.ok()) return false;
  const auto payload = status.GetPayload(kConditionUrl);
  return payload.has_value() && *payload == condition;
}

// The payload is text that a person can read in Status::ToString and Split can
// take apart again:
//   NOT_FOUND: no such file|UNAVAILABLE: gone{braid/condition=broken}
// with a backslash before each of |{}=\ inside a message or a payload.
constexpr std::string_view kSpecial = "|{}=\\";

void PutEscaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (kSpecial.find(c) != std::string_view::npos) out.push_back('\\');
    out.push_back(c);
  }
}

// Takes the text up to the next unescaped character of `ends` off `rest`, that
// character included.
std::string TakeUntil(std::string_view& rest, std::string_view ends,
                      char* end) {
  std::string text;
  *end = '\0';
  size_t i = 0;
  for (; i < rest.size(); ++i) {
    if (rest[i] == '\\' && i + 1 < rest.size()) {
      text.push_back(rest[++i]);
    } else if (ends.find(rest[i]) != std::string_view::npos) {
      *end = rest[i++];
      break;
    } else {
      text.push_back(rest[i]);
    }
  }
  rest.remove_prefix(i);
  return text;
}

void Put(std::string& out, const absl::Status& status) {
  if (!out.empty()) out.push_back('|');
  const std::string code = absl::StatusCodeToString(status.code());
  out += code + ": ";
  PutEscaped(out, {status.message().data(), status.message().size()});
  std::string behind_it;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (url == kSuppressedUrl) {
      behind_it = std::string(payload);
      return;
    }
    out.push_back('{');
    PutEscaped(out, {url.data(), url.size()});
    out.push_back('=');
    PutEscaped(out, std::string(payload));
    out.push_back('}');
  });
  // Beside it, not inside: escaping would double with each group of a nest.
  if (!behind_it.empty()) out += "|" + behind_it;
}

absl::StatusCode CodeNamed(std::string_view name) {
  for (int code = 0; code <= 16; ++code) {
    if (absl::StatusCodeToString(static_cast<absl::StatusCode>(code)) == name)
      return static_cast<absl::StatusCode>(code);
  }
  return absl::StatusCode::kUnknown;
}

}  // namespace

absl::Status ClosedError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kFailedPrecondition, message, "closed");
}
bool IsClosed(const absl::Status& status) { return Has(status, "closed"); }

absl::Status BrokenError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kUnavailable, message, "broken");
}
bool IsBroken(const absl::Status& status) { return Has(status, "broken"); }

absl::Status BusyError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kFailedPrecondition, message, "busy");
}
bool IsBusy(const absl::Status& status) { return Has(status, "busy"); }

absl::Status WouldBlockError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kResourceExhausted, message, "would block");
}
bool IsWouldBlock(const absl::Status& status) {
  return Has(status, "would block");
}

absl::Status IncompleteReadError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kOutOfRange, message, "incomplete read");
}
bool IsIncompleteRead(const absl::Status& status) {
  return Has(status, "incomplete read");
}

absl::Status DelimiterNotFoundError(std::string_view message) noexcept {
  return Make(absl::StatusCode::kResourceExhausted, message,
              "delimiter not found");
}
bool IsDelimiterNotFound(const absl::Status& status) {
  return Has(status, "delimiter not found");
}

std::vector<absl::Status> SuppressedErrors(const absl::Status& status) {
  std::vector<absl::Status> errors;
  const auto payload = status.GetPayload(kSuppressedUrl);
  if (!payload.has_value()) return errors;
  const std::string text(*payload);
  std::string_view rest = text;
  while (!rest.empty()) {
    char end = '\0';
    const std::string head = TakeUntil(rest, "{|", &end);
    const size_t colon = head.find(": ");
    const std::string_view code = std::string_view(head).substr(0, colon);
    const std::string_view message =
        colon == std::string::npos ? ""
                                   : std::string_view(head).substr(colon + 2);
    absl::Status error(CodeNamed(code), View(message));
    while (end == '{') {
      const std::string url = TakeUntil(rest, "=", &end);
      error.SetPayload(View(url), absl::Cord(View(TakeUntil(rest, "}", &end))));
      end = rest.empty() ? '\0' : rest.front();
      if (!rest.empty()) rest.remove_prefix(1);
    }
    errors.push_back(std::move(error));
  }
  return errors;
}

absl::Status WithSuppressed(absl::Status status,
                            const std::vector<absl::Status>& suppressed) {
  if (status.ok() || suppressed.empty()) return status;
  std::string text;
  if (const auto payload = status.GetPayload(kSuppressedUrl);
      payload.has_value())
    text = std::string(*payload);
  for (const absl::Status& error : suppressed) Put(text, error);
  status.SetPayload(kSuppressedUrl, absl::Cord(View(text)));
  return status;
}

absl::Status detail::MakeStatus(
    absl::StatusCode code, absl::FunctionRef<absl::Status()> make) noexcept {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return absl::Status(code, "");
  }
}

}  // namespace braid
