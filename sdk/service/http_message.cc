#include "braid/service/http_message.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "braid/core/check.h"
#include "braid/metrics/detail/text.h"

namespace braid::service {
namespace {

namespace http = boost::beast::http;

std::string_view ToStd(boost::beast::string_view text) {
  return {text.data(), text.size()};
}
boost::beast::string_view ToBeast(std::string_view text) {
  return {text.data(), text.size()};
}

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (Lower(c) >= 'a' && Lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

bool IsHeaderValue(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7F;
  });
}

bool HasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

// "HTTP/2.0" at the end of a line is a version; anything else there is a
// malformed request.
bool AsksForAnotherVersion(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\r'));
  if (line.size() < 9) return false;
  const std::string_view version = line.substr(line.size() - 9);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return version.starts_with(" HTTP/") && digit(version[6]) &&
         version[7] == '.' && digit(version[8]);
}

HttpResponse MakeError(int status, std::string_view why) {
  return {.status = status,
          .body = braid::detail::Concat(std::to_string(status), " ",
                                        HttpReason(status), ": ", why, "\n"),
          .close = true};
}

// The path and the query of a target in origin form ("/a?b") or absolute form
// ("http://host/a?b"), RFC 9112, 3.2.
void SplitTarget(HttpRequest& request) {
  std::string_view rest = request.target;
  if (const size_t scheme = rest.find("://");
      scheme != std::string_view::npos && !rest.starts_with('/')) {
    rest.remove_prefix(scheme + 3);
    const size_t path = rest.find_first_of("/?");
    rest = path == std::string_view::npos ? "" : rest.substr(path);
  }
  const size_t question = rest.find('?');
  request.path = rest.substr(0, question);
  if (request.path.empty()) request.path = "/";
  if (question != std::string_view::npos)
    request.query = rest.substr(question + 1);
}

template <typename Body>
std::string Bytes(http::response<Body>& message) {
  std::string bytes;
  http::response_serializer<Body> serializer(message);
  boost::beast::error_code error;
  while (!serializer.is_done()) {
    serializer.next(error, [&](boost::beast::error_code&, const auto& buffers) {
      for (const auto& buffer : boost::beast::buffers_range_ref(buffers)) {
        bytes.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      serializer.consume(boost::asio::buffer_size(buffers));
    });
    braid::detail::Check(!error, "an HTTP response could not be serialised");
  }
  return bytes;
}

template <typename Body>
void FillHead(http::response<Body>& message, const HttpResponse& response,
              unsigned version, bool keep) {
  message.version(version);
  message.result(static_cast<unsigned>(response.status));
  if (!response.content_type.empty() && IsHeaderValue(response.content_type) &&
      HasBody(response.status)) {
    message.set(http::field::content_type, ToBeast(response.content_type));
  }
  for (const auto& [name, value] : response.headers) {
    if (!IsToken(name) || !IsHeaderValue(value)) continue;
    if (EqualsIgnoringCase(name, "content-type") ||
        EqualsIgnoringCase(name, "content-length") ||
        EqualsIgnoringCase(name, "connection") ||
        EqualsIgnoringCase(name, "transfer-encoding")) {
      continue;
    }
    message.insert(ToBeast(name), ToBeast(value));
  }
  message.keep_alive(keep);
  if (HasBody(response.status)) message.content_length(response.body.size());
}

std::string Serialize(HttpResponse response, unsigned version, bool keep,
                      bool head) {
  if (response.status < 100 || response.status > 999) response.status = 500;
  if (head || !HasBody(response.status)) {
    http::response<http::empty_body> message;
    FillHead(message, response, version, keep);
    return Bytes(message);
  }
  http::response<http::string_body> message;
  FillHead(message, response, version, keep);
  message.body() = std::move(response.body);
  return Bytes(message);
}

}  // namespace

std::string HttpRequest::Header(std::string_view name) const {
  std::string joined;
  bool any = false;
  for (const auto& [key, value] : headers) {
    if (!EqualsIgnoringCase(key, name)) continue;
    if (any) joined += ", ";
    joined += value;
    any = true;
  }
  return joined;
}

// What is received is looked at in steps that each take a whole head, a whole
// line or some bytes of a body, so that the result never depends on the pieces
// in which bytes come. Beast parses heads; bodies are framed here, since its
// chunk parser (of Boost 1.81) treats some input differently by pieces, and
// fails an assertion on others.
struct HttpRequestParser::State {
  enum class Phase : uint8_t {
    kIdle,
    kHead,
    kBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kDone,
    kEnded
  };

  explicit State(HttpLimits limits) : limits(limits) {}

  std::string_view rest() const {
    return std::string_view(bytes).substr(begin);
  }

  bool Fail(int status, std::string_view why) {
    error = MakeError(status, why);
    End();
    return false;
  }

  // Takes nothing more.
  void End() {
    phase = Phase::kEnded;
    bytes.clear();
    bytes.shrink_to_fit();
    begin = 0;
  }

  // One step. False: it needs more bytes, or failed.
  bool Step() {
    switch (phase) {
      case Phase::kIdle:
        // Empty lines before a request, RFC 9112, 2.2.
        while (rest().starts_with("\r\n")) begin += 2;
        if (rest().empty() || rest() == "\r") return false;
        phase = Phase::kHead;
        looked_at = 0;
        return true;
      case Phase::kHead:
        return FindHead() && ParseHead();
      case Phase::kBody:
      case Phase::kChunkData: {
        const auto size =
            static_cast<size_t>(std::min<uint64_t>(left, rest().size()));
        request.body += rest().substr(0, size);
        begin += size;
        left -= size;
        if (left > 0) return false;
        phase = phase == Phase::kBody ? Phase::kDone : Phase::kChunkEnd;
        return true;
      }
      case Phase::kChunkSize:
      case Phase::kChunkEnd:
      case Phase::kTrailers: {
        const std::optional<std::string_view> line = TakeLine();
        return line.has_value() && TakeChunkLine(*line);
      }
      case Phase::kDone:
      case Phase::kEnded:
        break;
    }
    return false;
  }

  // Looks for the end of the head (request line and headers) in what came since
  // the last look.
  bool FindHead() {
    const std::string_view head = rest();
    for (; looked_at < head.size(); ++looked_at) {
      if (looked_at == 0 && !IsToken(head.substr(0, 1)))
        return Fail(400, "a request begins with a method");
      if (head[looked_at] == '\n') {
        if (head[looked_at - 1] != '\r')
          return Fail(400, "lines end with CR LF");
        if (head.substr(0, looked_at + 1).ends_with("\r\n\r\n")) return true;
      }
      if (looked_at + 1 >= limits.header_bytes) {
        const bool in_first_line =
            head.substr(0, looked_at + 1).find('\n') == std::string_view::npos;
        return in_first_line ? Fail(414, "the request line is too long")
                             : Fail(431, "the headers are too large");
      }
    }
    return false;
  }

  bool ParseHead() {
    const std::string_view head = rest().substr(0, looked_at + 1);
    http::request_parser<http::empty_body> parser;
    parser.header_limit(
        std::numeric_limits<uint32_t>::max());  // FindHead has its own
    parser.skip(true);
    boost::beast::error_code code;
    parser.put(boost::asio::const_buffer(head.data(), head.size()), code);
    if (code == http::error::bad_version && AsksForAnotherVersion(head))
      return Fail(505, "this is an HTTP/1.1 server");
    if (code) return Fail(400, code.message());
    braid::detail::Check(
        parser.is_done(),
        "a whole head of an HTTP request was not enough for its parser");
    begin += head.size();

    const auto& message = parser.get();
    request = HttpRequest();
    request.method = ToStd(message.method_string());
    request.target = ToStd(message.target());
    request.minor_version = static_cast<int>(message.version() % 10);
    request.keep_alive = message.keep_alive();
    for (const auto& field : message)
      request.headers.emplace_back(ToStd(field.name_string()),
                                   ToStd(field.value()));
    SplitTarget(request);

    // What the parser leaves to its user, RFC 9112 sections 3.2 and 6.
    const auto hosts = message.count(http::field::host);
    if (hosts > 1 || (hosts == 0 && request.minor_version == 1))
      return Fail(400, "a request needs exactly one Host header");
    left = 0;
    phase = Phase::kDone;
    if (message.count(http::field::transfer_encoding) != 0) {
      if (!EqualsIgnoringCase(request.Header("Transfer-Encoding"), "chunked")) {
        return Fail(501, "no transfer coding but chunked is supported");
      }
      if (request.minor_version == 0)
        return Fail(400, "HTTP/1.0 has no transfer coding");
      phase = Phase::kChunkSize;
    } else if (const auto length = parser.content_length();
               length.has_value() && *length > 0) {
      if (*length > limits.body_bytes)
        return Fail(413, "the body is too large");
      left = *length;
      phase = Phase::kBody;
    }
    if (const std::string expect = request.Header("Expect");
        !expect.empty() && request.minor_version == 1) {
      if (!EqualsIgnoringCase(expect, "100-continue"))
        return Fail(417, "only 100-continue can be expected");
      wants_continue = phase != Phase::kDone;
    }
    return true;
  }

  // The next line, without its end. Nothing: it isn't there yet, or failed.
  std::optional<std::string_view> TakeLine() {
    const std::string_view available = rest();
    const size_t end = available.find('\n');
    const size_t size =
        end == std::string_view::npos ? available.size() : end + 1;
    if (size > limits.header_bytes) {
      Fail(431, "the header of a chunk is too large");
    } else if (end != std::string_view::npos) {
      if (end == 0 || available[end - 1] != '\r') {
        Fail(400, "lines end with CR LF");
      } else {
        begin += size;
        return available.substr(0, end - 1);
      }
    }
    return std::nullopt;
  }

  // A line of a chunked body, RFC 9112, 7.1.
  bool TakeChunkLine(std::string_view line) {
    if (phase == Phase::kChunkEnd) {
      if (!line.empty()) return Fail(400, "a chunk is longer than it says");
      phase = Phase::kChunkSize;
      return true;
    }
    if (!IsHeaderValue(line))
      return Fail(400, "a control character is between chunks");
    if (phase == Phase::kTrailers) {
      // Nothing here uses trailers; they must not be taken for headers.
      left += line.size();
      if (left > limits.header_bytes)
        return Fail(431, "the trailers are too large");
      if (line.empty()) phase = Phase::kDone;
      return true;
    }
    const auto read =
        std::from_chars(line.data(), line.data() + line.size(), left, 16);
    const std::string_view extensions =
        line.substr(static_cast<size_t>(read.ptr - line.data()));
    const size_t text = extensions.find_first_not_of(" \t");
    if (read.ec == std::errc::result_out_of_range)
      return Fail(413, "the body is too large");
    if (read.ec != std::errc() ||
        (text != std::string_view::npos && extensions[text] != ';') ||
        (text == std::string_view::npos && !extensions.empty())) {
      return Fail(400, "a chunk begins with its size in hexadecimal digits");
    }
    if (left > limits.body_bytes - request.body.size())
      return Fail(413, "the body is too large");
    phase = left == 0 ? Phase::kTrailers : Phase::kChunkData;
    return true;
  }

  const HttpLimits limits;
  Phase phase = Phase::kIdle;
  std::string bytes;  // received; those before `begin` are used up
  size_t begin = 0;
  size_t looked_at = 0;  // bytes of the head
  uint64_t left = 0;  // bytes of the body or chunk that are to come; bytes of
                      // trailers that have come
  bool wants_continue = false;
  HttpRequest request;
  std::optional<HttpResponse> error;
};

HttpRequestParser::HttpRequestParser(HttpLimits limits)
    : state_(new State(limits)) {}
HttpRequestParser::HttpRequestParser(HttpRequestParser&&) noexcept = default;
HttpRequestParser& HttpRequestParser::operator=(HttpRequestParser&&) noexcept =
    default;
HttpRequestParser::~HttpRequestParser() = default;

void HttpRequestParser::Feed(std::string_view bytes) {
  State& state = *state_;
  if (state.phase == State::Phase::kEnded) return;
  state.bytes.erase(0, std::exchange(state.begin, 0));
  state.bytes += bytes;
}

std::optional<HttpRequest> HttpRequestParser::Next() {
  State& state = *state_;
  while (state.Step()) {
  }
  if (state.phase != State::Phase::kDone) return std::nullopt;
  state.wants_continue = false;
  state.phase = State::Phase::kIdle;
  HttpRequest request = std::move(state.request);
  if (!request.keep_alive) state.End();
  return request;
}

const std::optional<HttpResponse>& HttpRequestParser::error() const {
  return state_->error;
}

bool HttpRequestParser::TakeContinue() {
  return std::exchange(state_->wants_continue, false);
}

bool HttpRequestParser::idle() const {
  const bool between = state_->phase == State::Phase::kIdle ||
                       state_->phase == State::Phase::kEnded;
  return between && state_->begin == state_->bytes.size();
}

bool KeepsOpen(const HttpResponse& response, const HttpRequest& request) {
  return request.keep_alive && !response.close;
}

std::string SerializeResponse(const HttpResponse& response,
                              const HttpRequest& request) {
  return Serialize(response, request.minor_version == 0 ? 10 : 11,
                   KeepsOpen(response, request), request.method == "HEAD");
}

std::string SerializeError(const HttpResponse& response) {
  return Serialize(response, 11, false, false);
}

std::string_view HttpReason(int status) {
  if (status < 0 || http::int_to_status(static_cast<unsigned>(status)) ==
                        http::status::unknown)
    return "";
  return ToStd(http::obsolete_reason(
      http::int_to_status(static_cast<unsigned>(status))));
}

std::string FormatHttpDate(std::chrono::system_clock::time_point time) {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed",
                                "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(
      std::chrono::floor<std::chrono::seconds>(time - day));
  std::array<char, 64> text;
  const int size = std::snprintf(
      text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT",
      kDays[std::chrono::weekday(day).c_encoding()],
      static_cast<unsigned>(date.day()),
      kMonths[static_cast<unsigned>(date.month()) - 1],
      static_cast<int>(date.year()), static_cast<int>(clock.hours().count()),
      static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()));
  return std::string(text.data(), static_cast<size_t>(size));
}

}  // namespace braid::service
