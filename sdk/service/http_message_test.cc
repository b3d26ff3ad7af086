#include "braid/service/http_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace braid::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

// What a connection got out of some bytes.
struct Result {
  std::vector<HttpRequest> requests;
  int error = 0;
  std::string error_body;
  bool idle = false;
};

// Feeds `bytes` in pieces of `piece`.
Result Parse(std::string_view bytes, size_t piece = std::string_view::npos,
             HttpLimits limits = {}) {
  HttpRequestParser parser(limits);
  Result result;
  do {
    parser.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (auto request = parser.Next())
      result.requests.push_back(*std::move(request));
  } while (!bytes.empty());
  if (parser.error().has_value()) {
    result.error = parser.error()->status;
    result.error_body = parser.error()->body;
  }
  result.idle = parser.idle();
  return result;
}

int ErrorOf(std::string_view bytes) {
  const Result result = Parse(bytes);
  EXPECT_THAT(result.requests, IsEmpty());
  EXPECT_EQ(Parse(bytes, 1).error, result.error) << bytes;
  return result.error;
}

TEST(HttpRequestParserTest, ARequest) {
  const Result result = Parse(
      "GET /tasks?depth=2&x=%20 HTTP/1.1\r\nHost: localhost:9100\r\nAccept: "
      "text/plain\r\nX-A: 1\r\nx-a:  2 \r\n\r\n");
  ASSERT_THAT(result.requests, SizeIs(1));
  const HttpRequest& request = result.requests[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/tasks?depth=2&x=%20");
  EXPECT_EQ(request.path, "/tasks");
  EXPECT_EQ(request.query, "depth=2&x=%20");
  EXPECT_EQ(request.minor_version, 1);
  EXPECT_THAT(request.headers, ElementsAre(Pair("Host", "localhost:9100"),
                                           Pair("Accept", "text/plain"),
                                           Pair("X-A", "1"), Pair("x-a", "2")));
  EXPECT_EQ(request.Header("ACCEPT"), "text/plain");
  EXPECT_EQ(request.Header("X-a"), "1, 2");
  EXPECT_EQ(request.Header("none"), "");
  EXPECT_TRUE(request.keep_alive);
  EXPECT_EQ(request.body, "");
  EXPECT_EQ(result.error, 0);
  EXPECT_TRUE(result.idle);
}

TEST(HttpRequestParserTest, FormsOfTheTarget) {
  struct Row {
    const char* target;
    const char* path;
    const char* query;
  };
  for (const Row& row :
       {Row{"/", "/", ""}, Row{"/a?", "/a", ""}, Row{"/a?b?c", "/a", "b?c"},
        Row{"http://h:1/a?b", "/a", "b"}, Row{"http://h", "/", ""},
        Row{"http://h?q", "/", "q"}, Row{"*", "*", ""},
        Row{"/x?u=http://y/", "/x", "u=http://y/"},
        Row{"//x/y", "//x/y", ""}}) {
    const Result result = Parse("GET " + std::string(row.target) +
                                " HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_THAT(result.requests, SizeIs(1)) << row.target;
    EXPECT_EQ(result.requests[0].path, row.path);
    EXPECT_EQ(result.requests[0].query, row.query);
  }
}

TEST(HttpRequestParserTest, PipelinedRequestsInAnyPieces) {
  const std::string bytes =
      "\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      "\r\nPOST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=\"v\"\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\nHost: "
      "smuggled\r\n\r\n"
      "HEAD /4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
      "GET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
      "GET /6 HTTP/1.1\r\nHost: x\r\n\r\n";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Result result = Parse(bytes, piece);
    ASSERT_THAT(result.requests, SizeIs(5)) << piece;
    EXPECT_EQ(result.requests[1].body, "hello");
    EXPECT_EQ(result.requests[2].body, "hello!");
    EXPECT_EQ(result.requests[2].Header("Host"),
              "x");  // trailers are no headers
    EXPECT_EQ(result.requests[2].Header("Trailer"), "");
    EXPECT_EQ(result.requests[3].path, "/4");
    EXPECT_EQ(result.requests[3].minor_version, 0);
    EXPECT_TRUE(result.requests[3].keep_alive);
    EXPECT_FALSE(
        result.requests[4].keep_alive);  // what comes after it is not for us
    EXPECT_EQ(result.error, 0);
  }
}

TEST(HttpRequestParserTest, KeepAlive) {
  const auto keeps = [](const std::string& version,
                        const std::string& headers) {
    const Result result =
        Parse("GET / HTTP/" + version + "\r\nHost: x\r\n" + headers + "\r\n");
    return result.requests.at(0).keep_alive;
  };
  EXPECT_TRUE(keeps("1.1", ""));
  EXPECT_FALSE(keeps("1.1", "Connection: Close\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: x, close\r\n"));
  EXPECT_FALSE(keeps("1.0", ""));
  EXPECT_TRUE(keeps("1.0", "Connection: Keep-Alive\r\n"));
}

TEST(HttpRequestParserTest, Idle) {
  HttpRequestParser parser;
  EXPECT_TRUE(parser.idle());
  parser.Feed("\r\n");
  EXPECT_FALSE(parser.Next().has_value());
  EXPECT_TRUE(parser.idle());
  parser.Feed("G");
  EXPECT_FALSE(parser.idle());
  EXPECT_FALSE(parser.Next().has_value());
  EXPECT_FALSE(parser.idle());
  parser.Feed("ET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(parser.Next().has_value());
  EXPECT_TRUE(parser.idle());
}

TEST(HttpRequestParserTest, ExpectContinue) {
  HttpRequestParser parser;
  parser.Feed(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: "
      "100-Continue\r\n\r\n");
  EXPECT_FALSE(parser.TakeContinue());
  EXPECT_FALSE(parser.Next().has_value());
  EXPECT_TRUE(parser.TakeContinue());
  EXPECT_FALSE(parser.TakeContinue());
  parser.Feed("ab");
  EXPECT_EQ(parser.Next()->body, "ab");
  // Not if the body is there, or there is none.
  parser.Feed(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: "
      "100-continue\r\n\r\nab");
  EXPECT_TRUE(parser.Next().has_value());
  EXPECT_FALSE(parser.TakeContinue());
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
                    "2\r\nExpect: gold\r\n\r\n"),
            417);
}

TEST(HttpRequestParserTest, WhatIsNoRequest) {
  EXPECT_EQ(ErrorOf("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("\x16\x03\x01\x02"), 400);  // TLS
  EXPECT_EQ(ErrorOf("GET / FOO/1.1\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  // No Host; which one; a space before the colon.
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n"), 400);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\nHost: a\n\n"), 400);
}

// Two ways to say where a request ends are how requests are smuggled past
// proxies, RFC 9112, 6.1 and 11.2.
TEST(HttpRequestParserTest, AmbiguousBodiesAreRefused) {
  const auto error = [](const std::string& headers) {
    return ErrorOf("POST / HTTP/1.1\r\nHost: a\r\n" + headers +
                   "\r\n0\r\n\r\n");
  };
  EXPECT_EQ(error("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(error("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
  EXPECT_EQ(error("Content-Length: 5\r\nContent-Length: 6\r\n"), 400);
  EXPECT_EQ(error("Content-Length: 5, 6\r\n"), 400);
  EXPECT_EQ(error("Content-Length: -1\r\n"), 400);
  EXPECT_EQ(error("Content-Length: +5\r\n"), 400);
  EXPECT_EQ(error("Content-Length: 0x5\r\n"), 400);
  EXPECT_EQ(error("Content-Length: 99999999999999999999\r\n"), 400);
  EXPECT_EQ(error("Transfer-Encoding: gzip\r\n"), 501);
  EXPECT_EQ(error("Transfer-Encoding: gzip, chunked\r\n"), 501);
  EXPECT_EQ(error("Transfer-Encoding: chunked, gzip\r\n"), 501);
  EXPECT_EQ(error("Transfer-Encoding: xchunked\r\n"), 501);
  EXPECT_EQ(error("Transfer-Encoding: \r\n"), 501);
  EXPECT_EQ(
      error("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
      400);
  EXPECT_EQ(
      ErrorOf("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      400);
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                    "chunked\r\n\r\nzz\r\n\r\n"),
            400);
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n1\r\nab\r\n0\r\n"),
            400);
}

TEST(HttpRequestParserTest, Limits) {
  const HttpLimits limits = {.header_bytes = 200, .body_bytes = 100};
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\n";
  const auto error = [&](const std::string& bytes) {
    const int whole = Parse(bytes, std::string_view::npos, limits).error;
    EXPECT_EQ(Parse(bytes, 1, limits).error, whole) << bytes.substr(0, 100);
    return whole;
  };
  EXPECT_EQ(error("GET /" + std::string(300, 'x')), 414);
  EXPECT_EQ(
      error("GET /" + std::string(300, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"),
      414);
  EXPECT_EQ(error(head + "X: " + std::string(300, 'x')), 431);
  EXPECT_EQ(error(head + "X: " + std::string(300, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(error(head + "Content-Length: 101\r\n\r\n"), 413);
  EXPECT_EQ(error(head + "Content-Length: 100\r\n\r\n" + std::string(100, 'x')),
            0);
  EXPECT_EQ(error(head + "Content-Length: 18446744073709551615\r\n\r\n"), 413);
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(error(chunked + "65\r\nx"), 413);
  EXPECT_EQ(error(chunked + "ffffffffffffffff\r\n"), 413);
  EXPECT_EQ(error(chunked + "32\r\n" + std::string(50, 'x') + "\r\n33\r\n"),
            413);
  EXPECT_EQ(error(chunked + "1;" + std::string(300, 'x')), 431);
  std::string trailers = chunked + "0\r\n";
  for (int i = 0; i < 30; ++i) trailers += "T: 0123456789\r\n";
  EXPECT_EQ(error(trailers), 431);
  // Requests before it are answered.
  const Result result = Parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + head +
                                  "Content-Length: 101\r\n\r\n",
                              10, limits);
  EXPECT_THAT(result.requests, SizeIs(1));
  EXPECT_EQ(result.error, 413);
}

TEST(HttpRequestParserTest, AfterAnErrorEverythingIsIgnored) {
  HttpRequestParser parser;
  parser.Feed("nonsense\r\n\r\n");
  EXPECT_FALSE(parser.Next().has_value());
  ASSERT_TRUE(parser.error().has_value());
  EXPECT_TRUE(parser.error()->close);
  EXPECT_THAT(parser.error()->body, ::testing::StartsWith("400 Bad Request: "));
  parser.Feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_FALSE(parser.Next().has_value());
  EXPECT_THAT(SerializeError(*parser.error()),
              ::testing::StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(SerializeError(*parser.error()),
              HasSubstr("Connection: close\r\n"));
}

// What clients may be told: each whole, in one string.
TEST(SerializeResponseTest, HasLengthAndType) {
  const HttpRequest get = {.method = "GET"};
  EXPECT_EQ(SerializeResponse({.body = "hello"}, get),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; "
            "charset=utf-8\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(SerializeResponse({.status = 503,
                               .content_type = "",
                               .headers = {{"Retry-After", "1"}}},
                              get),
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: "
            "1\r\nContent-Length: 0\r\n\r\n");
}

TEST(SerializeResponseTest, HeadHasTheLengthButNoBody) {
  const std::string text =
      SerializeResponse({.body = "hello"}, {.method = "HEAD"});
  EXPECT_THAT(text, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_TRUE(text.ends_with("\r\n\r\n"));
}

TEST(SerializeResponseTest, SomeStatusesHaveNoBody) {
  for (const int status : {204, 304}) {
    const std::string text =
        SerializeResponse({.status = status, .body = "x"}, {.method = "GET"});
    EXPECT_THAT(text, Not(HasSubstr("Content-")));
    EXPECT_TRUE(text.ends_with("\r\n\r\n"));
  }
}

TEST(SerializeResponseTest, Connection) {
  const HttpResponse response = {.content_type = "", .body = ""};
  const HttpResponse closing = {.content_type = "", .close = true};
  EXPECT_THAT(SerializeResponse(response, {.keep_alive = true}),
              Not(HasSubstr("Connection")));
  EXPECT_THAT(SerializeResponse(response, {.keep_alive = false}),
              HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(SerializeResponse(closing, {.keep_alive = true}),
              HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(
      SerializeResponse(response, {.minor_version = 0, .keep_alive = true}),
      HasSubstr("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"));
  EXPECT_THAT(
      SerializeResponse(response, {.minor_version = 0, .keep_alive = false}),
      Not(HasSubstr("Connection")));
  EXPECT_TRUE(KeepsOpen(response, {.keep_alive = true}));
  EXPECT_FALSE(KeepsOpen(response, {.keep_alive = false}));
  EXPECT_FALSE(KeepsOpen(closing, {.keep_alive = true}));
}

TEST(SerializeResponseTest, HeadersCannotBeForged) {
  const std::string text =
      SerializeResponse({.content_type = "text/x\r\nX-Evil: 1",
                         .headers = {{"X-A", "1\r\nX-Evil: 1"},
                                     {"X-Evil: 1\r\nX", "1"},
                                     {"", "1"},
                                     {"Content-Length", "999"},
                                     {"transfer-encoding", "chunked"},
                                     {"X-Good", "tab\there"},
                                     {"Set-Cookie", "a"},
                                     {"Set-Cookie", "b"}},
                         .body = "x"},
                        {.method = "GET"});
  EXPECT_EQ(text,
            "HTTP/1.1 200 OK\r\nX-Good: tab\there\r\nSet-Cookie: "
            "a\r\nSet-Cookie: b\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(SerializeResponse({.status = -1}, {}),
              ::testing::StartsWith("HTTP/1.1 500 Internal Server Error"));
}

TEST(HttpTest, ReasonAndDate) {
  EXPECT_EQ(HttpReason(404), "Not Found");
  EXPECT_EQ(HttpReason(299), "");
  EXPECT_EQ(HttpReason(-5), "");
  EXPECT_EQ(FormatHttpDate(std::chrono::system_clock::from_time_t(784111777)),
            "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(std::chrono::system_clock::from_time_t(0)),
            "Thu, 01 Jan 1970 00:00:00 GMT");
}

// Broken requests in random pieces: the result depends on the bytes, never on
// the pieces; memory stays bounded (ASan has an eye on the rest).
TEST(HttpRequestParserTest, RandomInput) {
  std::mt19937 random(5);
  const std::vector<std::string> seeds = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: "
      "100-continue\r\n\r\nhello",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: v\r\n\r\n",
      "GET http://x/y HTTP/1.0\r\nConnection: keep-alive\r\nX: a\r\n "
      "folded\r\n\r\n",
  };
  const std::vector<std::string> pieces = {"\r\n",
                                           "\r",
                                           "\n",
                                           ": ",
                                           " ",
                                           "0",
                                           "Content-Length: 3\r\n",
                                           "Transfer-Encoding: chunked\r\n",
                                           "\r\n\r\n",
                                           "HTTP/1.1",
                                           std::string(1, '\0'),
                                           "\xFF",
                                           "ffffffff",
                                           ",",
                                           ";",
                                           "\""};
  int good = 0;
  int bad = 0;
  for (int round = 0; round < 10000; ++round) {
    std::string bytes;
    for (uint32_t n = 1 + random() % 3; n > 0; --n)
      bytes += seeds[random() % seeds.size()];
    for (uint32_t n = random() % 4; n > 0 && !bytes.empty(); --n) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + random() % 8);
          break;
        case 2:
          bytes.insert(at, pieces[random() % pieces.size()]);
          break;
        case 3:
          bytes.insert(at,
                       bytes.substr(random() % bytes.size(), random() % 20));
          break;
      }
    }
    const HttpLimits limits = {.header_bytes = 150, .body_bytes = 50};
    const Result whole = Parse(bytes, std::string_view::npos, limits);
    const Result split = Parse(bytes, 1 + random() % 7, limits);
    ASSERT_EQ(whole.error, split.error) << bytes;
    ASSERT_EQ(whole.requests.size(), split.requests.size()) << bytes;
    for (size_t i = 0; i < whole.requests.size(); ++i) {
      EXPECT_EQ(whole.requests[i].body, split.requests[i].body);
      EXPECT_EQ(whole.requests[i].headers, split.requests[i].headers);
      EXPECT_LE(whole.requests[i].body.size(), 50u);
    }
    good += static_cast<int>(whole.requests.size());
    bad += whole.error != 0 ? 1 : 0;
  }
  EXPECT_GT(good, 5000);
  EXPECT_GT(bad, 1000);
}

}  // namespace
}  // namespace braid::service
