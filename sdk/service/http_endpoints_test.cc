#include "braid/service/http_endpoints.h"

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "braid/backend/asio/asio_backend.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/net/tcp.h"
#include "gtest/gtest.h"

namespace braid::service {
namespace {

using namespace std::chrono_literals;

class Client {
 public:
  static Task<absl::StatusOr<Client>> Connect(const TcpListener& listener) {
    co_return Client(co_await OrReturn(TcpStream::Connect(
        SocketAddress::LoopbackV4(listener.local_address().port()))));
  }

  Task<absl::Status> Send(std::string text) {
    co_return co_await stream_.Send(text);
  }

  // What comes until the server closes; or until `mark` has come.
  Task<absl::StatusOr<std::string>> ReadUntil(std::string mark) {
    std::string text;
    std::array<char, 4096> buffer;
    while (mark.empty() || text.find(mark) == text.npos) {
      const absl::StatusOr<size_t> size = co_await stream_.Receive(buffer);
      // A reset is an end, too.
      if (!size.ok() || *size == 0) break;
      text.append(buffer.data(), *size);
    }
    co_return text;
  }
  Task<absl::StatusOr<std::string>> ReadAll() {
    co_return co_await ReadUntil("");
  }

 private:
  explicit Client(TcpStream stream) : stream_(std::move(stream)) {}
  TcpStream stream_;
};

// Runs `body(listener, endpoints, group)` beside a server with a page /ok that
// answers "fine" and a page /slow that never does.
template <typename Body>
void WithServer(HttpEndpoints::Options options, Body body) {
  const std::unique_ptr<Backend> backend = *MakeAsioBackend();
  const absl::Status status = Run(*backend, [&]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    HttpEndpoints endpoints(options);
    endpoints.Add("/ok", "Good.", [](HttpRequest) -> Task<HttpResponse> {
      co_return HttpResponse{.body = "fine"};
    });
    endpoints.Add("/slow", "Not.", [](HttpRequest) -> Task<HttpResponse> {
      co_await SleepForever();
      co_return HttpResponse();
    });
    co_return co_await FailAfter(
        20s, WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("http", [&]() -> Task<absl::Status> {
            co_return co_await endpoints.Serve(listener);
          });
          co_await OrReturn(body(listener, endpoints, group));
          group.Cancel("done");
          co_return co_await group.Join();
        }));
  });
  EXPECT_TRUE(status.ok()) << status;
}

std::string Get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

TEST(HttpEndpointsTest, AnswersInOrderOnOneConnection) {
  WithServer(
      {},
      [](TcpListener& listener, HttpEndpoints&,
         TaskGroup&) -> Task<absl::Status> {
        Client client = co_await OrReturn(Client::Connect(listener));
        co_await OrReturn(client.Send(Get("/ok") + Get("/none") + Get("/")));
        const std::string text =
            co_await OrReturn(client.ReadUntil("/slow  Not.\n"));
        const size_t ok = text.find("200 OK");
        const size_t none = text.find("404 Not Found");
        const size_t contents = text.rfind("200 OK");
        EXPECT_LT(ok, none);
        EXPECT_LT(none, contents);
        EXPECT_NE(contents, text.npos);
        // It is still open.
        co_await OrReturn(client.Send(Get("/ok")));
        const std::string more = co_await OrReturn(client.ReadUntil("fine"));
        EXPECT_NE(more.find("200 OK"), more.npos);
        co_return absl::OkStatus();
      });
}

TEST(HttpEndpointsTest, OtherMethodsAreRefusedWithWhatIsAllowed) {
  WithServer(
      {},
      [](TcpListener& listener, HttpEndpoints&,
         TaskGroup&) -> Task<absl::Status> {
        Client client = co_await OrReturn(Client::Connect(listener));
        co_await OrReturn(client.Send(
            "DELETE /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        const std::string text = co_await OrReturn(client.ReadAll());
        EXPECT_NE(text.find("405 "), text.npos) << text;
        EXPECT_NE(text.find("Allow: GET, HEAD"), text.npos) << text;
        co_return absl::OkStatus();
      });
}

TEST(HttpEndpointsTest, WhatIsNoRequestIsToldSoAndClosed) {
  WithServer({},
             [](TcpListener& listener, HttpEndpoints& endpoints,
                TaskGroup&) -> Task<absl::Status> {
               Client client = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(client.Send("nonsense\r\n\r\n"));
               const std::string text = co_await OrReturn(client.ReadAll());
               EXPECT_TRUE(text.starts_with("HTTP/1.1 400 ")) << text;
               EXPECT_EQ(endpoints.connections(), 1u)
                   << "until the client has read it";
               co_return absl::OkStatus();
             });
}

// A client that sends a request one byte at a time, for ever.
TEST(HttpEndpointsTest, ARequestHasToBeOverWithinItsLimit) {
  WithServer({.request_limit = 100ms},
             [](TcpListener& listener, HttpEndpoints&,
                TaskGroup& group) -> Task<absl::Status> {
               Client client = co_await OrReturn(Client::Connect(listener));
               const Time begin = Now();
               group.Start("drip", [&]() -> Task<void> {
                 while ((co_await client.Send("G")).ok())
                   co_await SleepFor(20ms);
               });
               EXPECT_EQ(co_await OrReturn(client.ReadAll()), "");
               EXPECT_GE(Now() - begin, 100ms);
               EXPECT_LT(Now() - begin, 5s);
               co_return absl::OkStatus();
             });
}

TEST(HttpEndpointsTest, AnIdleConnectionIsClosed) {
  WithServer({.idle_limit = 50ms},
             [](TcpListener& listener, HttpEndpoints&,
                TaskGroup&) -> Task<absl::Status> {
               Client client = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(client.Send(Get("/ok")));
               const std::string text = co_await OrReturn(client.ReadAll());
               EXPECT_NE(text.find("fine"), text.npos)
                   << "closed after the answer";
               co_return absl::OkStatus();
             });
}

TEST(HttpEndpointsTest, APageThatTakesTooLongIsAnswered503) {
  WithServer({.answer_limit = 50ms},
             [](TcpListener& listener, HttpEndpoints&,
                TaskGroup&) -> Task<absl::Status> {
               Client client = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(client.Send(Get("/slow") + Get("/ok")));
               const std::string text =
                   co_await OrReturn(client.ReadUntil("fine"));
               EXPECT_TRUE(text.starts_with("HTTP/1.1 503 ")) << text;
               EXPECT_NE(text.find("200 OK"), text.npos) << text;
               co_return absl::OkStatus();
             });
}

TEST(HttpEndpointsTest, ANewcomerTakesThePlaceOfWhoHasWaitedLongest) {
  WithServer({.max_connections = 3},
             [](TcpListener& listener, HttpEndpoints& endpoints,
                TaskGroup&) -> Task<absl::Status> {
               // The first is being answered, so it keeps its place.
               Client busy = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(busy.Send(Get("/slow")));
               Client oldest = co_await OrReturn(Client::Connect(listener));
               co_await SleepFor(10ms);
               Client younger = co_await OrReturn(Client::Connect(listener));
               co_await SleepFor(10ms);
               Client newcomer = co_await OrReturn(Client::Connect(listener));
               EXPECT_EQ(co_await OrReturn(oldest.ReadAll()), "");
               for (Client* client : {&younger, &newcomer}) {
                 co_await OrReturn(client->Send(Get("/ok")));
                 const std::string text =
                     co_await OrReturn(client->ReadUntil("fine"));
                 EXPECT_NE(text.find("200 OK"), text.npos);
               }
               EXPECT_EQ(endpoints.connections(), 3u);
               co_return absl::OkStatus();
             });
}

// Clients that asked for more than the sockets' buffers hold and took nothing
// of it kept every place for half a minute, and whoever watches the service's
// health saw it dead.
TEST(HttpEndpointsTest, SoItDoesOfWhoDoesNotTakeAnAnswer) {
  WithServer({.max_connections = 2},
             [](TcpListener& listener, HttpEndpoints& endpoints,
                TaskGroup&) -> Task<absl::Status> {
               endpoints.Add(
                   "/big", "Much.", [](HttpRequest) -> Task<HttpResponse> {
                     co_return HttpResponse{.body = std::string(32 << 20, 'x')};
                   });
               std::vector<Client> deaf;
               for (int i = 0; i < 2; ++i) {
                 deaf.push_back(co_await OrReturn(Client::Connect(listener)));
                 co_await OrReturn(deaf.back().Send(Get("/big")));
               }
               // Closed without an answer as long as those are not stuck yet.
               std::string text;
               while (text.empty()) {
                 Client newcomer = co_await OrReturn(Client::Connect(listener));
                 (co_await newcomer.Send(Get("/ok"))).IgnoreError();
                 text = co_await OrReturn(newcomer.ReadUntil("fine"));
               }
               EXPECT_NE(text.find("200 OK"), text.npos) << text;
               EXPECT_LE(endpoints.connections(), 2u);
               co_return absl::OkStatus();
             });
}

TEST(HttpEndpointsTest, WithoutAnyPlaceANewcomerIsClosed) {
  WithServer({.max_connections = 1},
             [](TcpListener& listener, HttpEndpoints& endpoints,
                TaskGroup&) -> Task<absl::Status> {
               Client busy = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(busy.Send(Get("/slow")));
               co_await SleepFor(20ms);
               Client newcomer = co_await OrReturn(Client::Connect(listener));
               EXPECT_EQ(co_await OrReturn(newcomer.ReadAll()), "");
               EXPECT_EQ(endpoints.connections(), 1u);
               co_return absl::OkStatus();
             });
}

// It left Serve, and with it went the whole service.
TEST(HttpEndpointsTest, AnExceptionIsTheEndOfOneAnswerOnly) {
  std::vector<std::string> heard;
  WithServer(
      {.on_exception =
           [&](std::string_view path, std::string_view what) {
             heard.push_back(std::string(path) + ": " + std::string(what));
           }},
      [](TcpListener& listener, HttpEndpoints& endpoints,
         TaskGroup&) -> Task<absl::Status> {
        endpoints.Add("/throws", "At once.",
                      [](HttpRequest) -> Task<HttpResponse> {
                        throw std::runtime_error("no votes");
                        co_return HttpResponse();
                      });
        endpoints.Add("/later", "After a while.",
                      [](HttpRequest) -> Task<HttpResponse> {
                        co_await SleepFor(1ms);
                        throw 7;
                      });
        Client client = co_await OrReturn(Client::Connect(listener));
        // Of the three on one connection, the last is as good as ever.
        co_await OrReturn(client.Send(Get("/throws?x") + Get("/later")));
        co_await OrReturn(client.Send(Get("/ok")));
        const std::string text = co_await OrReturn(client.ReadUntil("fine"));
        const size_t first = text.find("500 Internal Server Error");
        EXPECT_NE(first, text.npos) << text;
        EXPECT_NE(text.find("500 Internal Server Error", first + 1), text.npos);
        EXPECT_NE(text.find("200 OK"), text.npos);
        EXPECT_EQ(text.find("no votes"), text.npos);
        co_return absl::OkStatus();
      });
  EXPECT_EQ(heard,
            (std::vector<std::string>{"/throws: no votes",
                                      "/later: an exception of unknown type"}));
}

TEST(HttpEndpointsTest, AGracefulStopLetsIdleClientsGo) {
  WithServer({},
             [](TcpListener& listener, HttpEndpoints& endpoints,
                TaskGroup& group) -> Task<absl::Status> {
               Client idle = co_await OrReturn(Client::Connect(listener));
               co_await OrReturn(idle.Send(Get("/ok")));
               co_await OrReturn(idle.ReadUntil("fine"));
               group.RequestStop();
               EXPECT_EQ(co_await OrReturn(idle.ReadAll()), "");
               while (endpoints.connections() > 0) co_await Checkpoint();
               co_return absl::OkStatus();
             });
}

}  // namespace
}  // namespace braid::service
