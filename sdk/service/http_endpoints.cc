#include "braid/service/http_endpoints.h"

#include <array>
#include <exception>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "braid/core/any_of.h"
#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/stop_request.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"

namespace braid::service {
namespace {

HttpResponse Text(int status, std::string body) {
  return {.status = status, .body = std::move(body)};
}

}  // namespace

HttpResponse HttpEndpoints::Contents() const {
  std::string body;
  for (const auto& [path, entry] : pages_)
    absl::StrAppend(&body, path, "  ", entry.summary, "\n");
  return Text(200, std::move(body));
}

// One page that fails must not take the service with it.
Task<HttpResponse> HttpEndpoints::Make(Page& page, HttpRequest request) {
  const std::string path = request.path;
  std::string what = "an exception of unknown type";
  try {
    co_return co_await page.Get(std::move(request));
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {  // NOLINT(bugprone-empty-catch): `what` says so
  }
  if (options_.on_exception != nullptr) options_.on_exception(path, what);
  co_return Text(500, "This page failed; the service's log says of what.\n");
}

Task<HttpResponse> HttpEndpoints::Answer(HttpRequest request) {
  const auto found = pages_.find(request.path);
  if (found == pages_.end() && request.path != "/") {
    co_return Text(
        404, absl::StrCat("There is nothing at this path. What there is:\n",
                          Contents().body));
  }
  if (request.method != "GET" && request.method != "HEAD") {
    HttpResponse response = Text(405, "Only GET and HEAD are answered here.\n");
    response.headers.emplace_back("Allow", "GET, HEAD");
    co_return response;
  }
  if (found == pages_.end()) co_return Contents();
  std::optional<HttpResponse> response = co_await MoveOnAfter(
      options_.answer_limit, Make(*found->second.page, std::move(request)));
  co_return response.has_value()
      ? *std::move(response)
      : Text(503, "It took too long to make this page.\n");
}

bool HttpEndpoints::MakeRoom() {
  if (connections_.size() < options_.max_connections) return true;
  for (Connection& connection : connections_) {
    if (connection.waiting == nullptr || connection.evicted) continue;
    connection.evicted = true;
    connection.waiting->Cancel("another client needs the place");
    return true;
  }
  return false;
}

// What a connection does as long as that depends on its client: a newcomer may
// take its place.
class HttpEndpoints::Waiting {
 public:
  Waiting(Connections& connections, Connections::iterator self, Duration limit)
      : self_(self) {
    connections.splice(connections.end(), connections, self);
    self->waiting = &scope_;
    scope_.SetDeadline(Now() + limit);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { self_->waiting = nullptr; }

  CancelScope& scope() { return scope_; }

 private:
  const Connections::iterator self_;
  CancelScope scope_;
};

Task<absl::Status> HttpEndpoints::ServeConnection(TcpStream stream,
                                                  Connections::iterator self) {
  struct Leave {
    ~Leave() { connections.erase(self); }
    Connections& connections;
    Connections::iterator self;
  } leave{connections_, self};

  HttpRequestParser parser(options_.http);
  std::array<char, 2048> buffer;
  for (;;) {
    // A whole request.
    std::optional<HttpRequest> request = parser.Next();
    if (!request.has_value() && !parser.error().has_value()) {
      bool begun = !parser.idle();
      Waiting waiting(connections_, self,
                      begun ? options_.request_limit : options_.idle_limit);
      CancelScope& scope = waiting.scope();
      std::optional<bool> open = co_await scope.Run([&]() -> Task<bool> {
        for (;;) {
          auto [size, stopping] =
              co_await AnyOf(stream.Receive(buffer), StopRequested());
          if (!size.has_value() || !size->ok() || **size == 0) co_return false;
          parser.Feed({buffer.data(), **size});
          request = parser.Next();
          if (request.has_value() || parser.error().has_value()) co_return true;
          if (parser.TakeContinue() &&
              !(co_await stream.Send(kHttpContinue)).ok())
            co_return false;
          if (!begun) scope.SetDeadline(Now() + options_.request_limit);
          begun = true;
        }
      });
      if (!open.value_or(false)) co_return absl::OkStatus();
    }

    std::string bytes;
    bool keep = false;
    if (request.has_value()) {
      HttpRequest answered = *request;
      HttpResponse response = co_await Answer(*std::move(request));
      if (IsStopRequested() || self->evicted) response.close = true;
      bytes = SerializeResponse(response, answered);
      keep = KeepsOpen(response, answered);
    } else {
      bytes = SerializeError(*parser.error());
    }
    {
      Waiting waiting(connections_, self, options_.answer_limit);
      const std::optional<absl::Status> sent =
          co_await waiting.scope().Run(stream.Send(bytes));
      if (!sent.has_value() || !sent->ok()) co_return absl::OkStatus();
    }
    if (self->evicted) co_return absl::OkStatus();
    if (keep) continue;
    // What the client is still sending would make the kernel reset the
    // connection, and take the answer with it.
    co_await OrReturn(stream.SendEof());
    Waiting waiting(connections_, self, std::chrono::seconds(1));
    co_await waiting.scope().Run([&]() -> Task<void> {
      for (;;) {
        const absl::StatusOr<size_t> size = co_await stream.Receive(buffer);
        if (!size.ok() || *size == 0) co_return;
      }
    });
    co_return absl::OkStatus();
  }
}

Task<absl::Status> HttpEndpoints::Serve(TcpListener& listener) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (;;) {
      auto [stream, stopping] =
          co_await AnyOf(listener.Accept(), StopRequested());
      if (stream.has_value()) {
        if (!stream->ok()) co_return stream->status();
        // Without room, all others are being answered: this one is closed.
        if (MakeRoom()) {
          const auto self =
              connections_.insert(connections_.end(), Connection());
          group.Start("http connection",
                      [this, stream = **std::move(stream),
                       self]() mutable -> Task<void> {
                        // What goes wrong with one connection ends that one.
                        (co_await ServeConnection(std::move(stream), self))
                            .IgnoreError();
                      });
        }
      }
      if (stopping) break;
    }
    co_return co_await group.Join();
  });
}

}  // namespace braid::service
