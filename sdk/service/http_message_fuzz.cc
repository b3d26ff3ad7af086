// Fuzzes the request parser, and compares what it finds in the whole input with
// what it finds in pieces.
//
//   flags="--config=asan --copt=-fsanitize=fuzzer-no-link"
//   bazel build $flags //sdk/service:http_message_fuzz
//   bazel-bin/sdk/service/http_message_fuzz -max_len=4096

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "braid/core/check.h"
#include "braid/service/http_message.h"

namespace {

using braid::detail::Check;
using braid::service::HttpRequest;
using braid::service::HttpRequestParser;

struct Result {
  std::vector<HttpRequest> requests;
  int error = 0;
};

Result Parse(std::string_view bytes, size_t piece) {
  HttpRequestParser parser({.header_bytes = 256, .body_bytes = 64});
  Result result;
  do {
    parser.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (std::optional<HttpRequest> request = parser.Next()) {
      Check(request->body.size() <= 64, "a body is larger than the limit");
      SerializeResponse({.headers = request->headers, .body = request->body},
                        *request);
      result.requests.push_back(*std::move(request));
    }
    parser.TakeContinue();
  } while (!bytes.empty());
  if (parser.error().has_value()) result.error = parser.error()->status;
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  const Result whole = Parse(bytes, std::string_view::npos);
  const Result split = Parse(bytes, 1 + data[0] % 16);
  Check(whole.error == split.error, "the error depends on the pieces");
  Check(whole.requests.size() == split.requests.size(),
        "the number of requests depends on the pieces");
  for (size_t i = 0; i < whole.requests.size(); ++i) {
    Check(whole.requests[i].body == split.requests[i].body,
          "a body depends on the pieces");
    Check(whole.requests[i].headers == split.requests[i].headers,
          "the headers depend on the pieces");
  }
  return 0;
}
