// HttpEndpoints: the few pages that operators and their tools read: /metrics,
// /healthz, /readyz, /tasks.
//
//   HttpEndpoints endpoints;
//   endpoints.Add("/healthz", "Whether the loop turns.",
//                 [](HttpRequest) -> Task<HttpResponse> {
//                   co_return HttpResponse{.body = "ok\n"};
//                 });
//   co_await OrReturn(endpoints.Serve(listener));
//
// HTTP/1.1 over Braid's streams, GET and HEAD, keep-alive. For small answers
// made from what the process knows; not for files, uploads or the outside
// world: there is no TLS, no authentication.
//
// It stays up whatever clients do: at most `max_connections` are open; a
// newcomer beyond that takes the place of the connection that has been waiting
// longest for its client, so that clients that never send their request
// (slowloris), take their answer or hang up can't keep others out; a request
// and the taking of an answer have to be over within a limit; requests are
// bounded in size.
//
// Threads: the loop's.

#ifndef BRAID_SERVICE_HTTP_ENDPOINTS_H_
#define BRAID_SERVICE_HTTP_ENDPOINTS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/task.h"
#include "braid/core/time.h"
#include "braid/net/tcp.h"
#include "braid/service/http_message.h"

namespace braid::service {

class HttpEndpoints {
 public:
  struct Options {
    size_t max_connections = 64;
    // For the first byte of a request to come, and from then on for the rest.
    Duration idle_limit = std::chrono::minutes(2);
    Duration request_limit = std::chrono::seconds(10);
    // To make an answer, and for the client to take it.
    Duration answer_limit = std::chrono::seconds(30);
    // Told of an exception that left a handler: the page's path, and what the
    // exception says. Its client gets 500.
    std::function<void(std::string_view path, std::string_view what)>
        on_exception = {};
    // Of one request.
    HttpLimits http = {.header_bytes = size_t{16} * 1024, .body_bytes = 0};
  };

  HttpEndpoints() : HttpEndpoints(Options()) {}
  explicit HttpEndpoints(Options options) : options_(std::move(options)) {}
  HttpEndpoints(const HttpEndpoints&) = delete;
  HttpEndpoints& operator=(const HttpEndpoints&) = delete;

  // Answers requests for `path` with what `handler(HttpRequest)` makes, a
  // Task<HttpResponse>. It runs as part of the connection's task, is cancelled
  // when that is, and after `answer_limit`, when the client gets 503. An
  // exception that leaves it ends that call: the client gets 500, and
  // `on_exception` hears of it. The handler is kept as long as this, and
  // several calls of it may be under way.
  // `summary` is for the page of contents at "/". Before Serve.
  template <typename F>
  void Add(std::string path, std::string summary, F handler) {
    pages_.insert_or_assign(
        std::move(path),
        Entry{std::move(summary),
              std::make_unique<Function<F>>(std::move(handler))});
  }

  // Serves connections to `listener`. Completes after a graceful stop was
  // requested, when the answers that were being made are sent. Cancelled at any
  // time: connections are closed. An error only if the listener fails.
  // `listener` outlives it.
  Task<absl::Status> Serve(TcpListener& listener);

  size_t connections() const { return connections_.size(); }

 private:
  class Page {
   public:
    virtual ~Page() = default;
    virtual Task<HttpResponse> Get(HttpRequest request) = 0;
  };
  template <typename F>
  class Function final : public Page {
   public:
    explicit Function(F function) : function_(std::move(function)) {}
    Task<HttpResponse> Get(HttpRequest request) override {
      co_return co_await function_(std::move(request));
    }

   private:
    F function_;
  };
  struct Entry {
    std::string summary;
    std::unique_ptr<Page> page;
  };
  struct Connection {
    CancelScope* waiting = nullptr;  // in which it waits for its client
    bool evicted = false;
  };
  using Connections = std::list<Connection>;
  class Waiting;

  Task<absl::Status> ServeConnection(TcpStream stream,
                                     Connections::iterator self);
  Task<HttpResponse> Answer(HttpRequest request);
  Task<HttpResponse> Make(Page& page, HttpRequest request);
  HttpResponse Contents() const;
  // Before another connection. False: there is no place for it.
  bool MakeRoom();

  Options options_;
  std::map<std::string, Entry, std::less<>> pages_;
  Connections connections_;  // the one that has waited longest first
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_HTTP_ENDPOINTS_H_
