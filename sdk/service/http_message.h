// HTTP/1.1 messages as bytes: requests out of what a connection received,
// responses into what it sends.
//
//   HttpRequestParser parser;
//   for (;;) {
//     while (std::optional<HttpRequest> request = parser.Next()) {
//       send(SerializeResponse(Answer(*request), *request));
//       if (!request->keep_alive) return;
//     }
//     if (parser.error().has_value()) {
//       send(SerializeError(*parser.error()));
//       return;
//     }
//     if (parser.TakeContinue()) send(kHttpContinue);
//     parser.Feed(receive());
//   }
//
// For: the small endpoints of a service (/metrics, /healthz). No I/O, no clock,
// no threads: it can be fed from any backend, in any pieces. Not for: HTTP/2,
// streaming bodies, serving the public.
//
// Reads what RFC 9112 allows and refuses the rest with the status code it asks
// for. Memory is bounded by the limits and by what is fed before Next() is
// asked.

#ifndef BRAID_SERVICE_HTTP_MESSAGE_H_
#define BRAID_SERVICE_HTTP_MESSAGE_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace braid::service {

struct HttpRequest {
  std::string method;     // "GET"
  std::string target;     // as it was sent: "/tasks?depth=2", or a whole URL
  std::string path;       // of the target, not decoded: "/tasks"
  std::string query;      // behind the first '?', not decoded: "depth=2"
  int minor_version = 1;  // of HTTP/1
  // In the order they came, names as they were sent.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // Whether the client will take another response on this connection. If not,
  // close it after this one.
  bool keep_alive = true;

  // The value of a header, whatever the case of its name; those that are there
  // several times joined by ", ". Empty if there is none.
  std::string Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  // Others than Content-Type, Content-Length and Connection, which are written
  // anyway. One with a control character in it, or a name that is no token, is
  // left out.
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // Asks for the connection to be closed, even if the client would keep it.
  bool close = false;
};

struct HttpLimits {
  size_t header_bytes = size_t{16} * 1024;  // request line, headers, trailers
  size_t body_bytes = size_t{1024} * 1024;
};

class HttpRequestParser {
 public:
  explicit HttpRequestParser(HttpLimits limits = {});
  HttpRequestParser(HttpRequestParser&&) noexcept;
  HttpRequestParser& operator=(HttpRequestParser&&) noexcept;
  ~HttpRequestParser();

  // Takes bytes that the connection received, in order. They are copied. After
  // an error, and after a request that ends the connection, they are ignored.
  void Feed(std::string_view bytes);

  // The next request that is complete, in the order in which they came:
  // pipelined requests are to be answered in that order. Nothing if more bytes
  // are needed, or after error().
  std::optional<HttpRequest> Next();

  // Set once what came is no request, or too large: 400, 413, 417, 431, 501 or
  // 505. To be sent after the answers to the requests before; then the
  // connection has to be closed, because where the next request begins is
  // unknown.
  const std::optional<HttpResponse>& error() const;

  // True, once for a request, if the client waits for kHttpContinue before it
  // sends the body (Expect: 100-continue).
  bool TakeContinue();

  // Whether nothing of a next request has come: closing the connection now
  // interrupts nobody.
  bool idle() const;

 private:
  struct State;

  std::unique_ptr<State> state_;
};

inline constexpr std::string_view kHttpContinue =
    "HTTP/1.1 100 Continue\r\n\r\n";

// The bytes of a response: with Content-Length, and with Connection where the
// client has to be told. Without the body if the request is HEAD or the status
// allows none. The connection is to be closed after it unless KeepsOpen().
std::string SerializeResponse(const HttpResponse& response,
                              const HttpRequest& request);
bool KeepsOpen(const HttpResponse& response, const HttpRequest& request);

// The same for HttpRequestParser::error(). The connection is to be closed after
// it.
std::string SerializeError(const HttpResponse& response);

// The reason phrase of a status code: "Not Found"; empty for one that RFC 9110
// doesn't name.
std::string_view HttpReason(int status);

// `time` for a Date or Last-Modified header: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string FormatHttpDate(std::chrono::system_clock::time_point time);

}  // namespace braid::service

#endif  // BRAID_SERVICE_HTTP_MESSAGE_H_
