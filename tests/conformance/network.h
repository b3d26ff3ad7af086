// What the cases about sockets have in common.

#ifndef TESTS_CONFORMANCE_NETWORK_H_
#define TESTS_CONFORMANCE_NETWORK_H_

#include <array>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/core.h"
#include "braid/core/status.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {

inline constexpr char kLoopback[] = "127.0.0.1:0";

// Two ends of one connection.
struct TcpEnds {
  TcpStream client;
  TcpStream server;
};

// Small buffers, so that little fills them.
inline constexpr TcpOptions kSmallBuffers = {.receive_buffer = 1 << 16,
                                             .send_buffer = 1 << 16};
// More than they hold.
inline std::string Plenty() { return std::string(2 << 20, 'x'); }

inline Task<absl::StatusOr<TcpEnds>> ConnectedTcp(
    TcpOptions options = kSmallBuffers) {
  TcpListener listener =
      co_await OrReturn(TcpListener::Bind(kLoopback, {.stream = options}));
  auto [client, server] = co_await OrReturn(
      AllOf(TcpStream::Connect(listener.local_address(), options),
            listener.Accept()));
  co_return TcpEnds{std::move(client), std::move(server)};
}

// The class of an error, as callers tell them apart; "OK".
inline std::string Kind(const absl::Status& status) {
  if (status.ok()) return "OK";
  if (IsClosed(status)) return "closed";
  if (IsBroken(status)) return "broken";
  if (IsBusy(status)) return "busy";
  return absl::StatusCodeToString(status.code());
}

// Receives once, and gives the bytes, "end", or the class of the error.
inline Task<std::string> ReceiveOnce(TcpStream* stream, size_t most = 100) {
  std::string buffer(most, '\0');
  const absl::StatusOr<size_t> size = co_await stream->Receive(buffer);
  if (!size.ok()) co_return Kind(size.status());
  if (*size == 0) co_return "end";
  co_return buffer.substr(0, *size);
}

// Receives until the end of the stream, and gives all bytes.
inline Task<absl::StatusOr<std::string>> ReceiveToTheEnd(TcpStream* stream) {
  std::string all;
  std::string buffer(64 << 10, '\0');
  while (const size_t size = co_await OrReturn(stream->Receive(buffer)))
    all.append(buffer, 0, size);
  co_return all;
}

// Ends the connection with a reset for the other end: something was left
// unreceived here.
inline Task<absl::Status> Reset(TcpEnds* ends, TcpStream* closes) {
  TcpStream* other = closes == &ends->client ? &ends->server : &ends->client;
  co_await OrReturn(other->Send("12"));
  std::array<char, 1> one;
  co_await OrReturn(closes->Receive(one));
  co_await closes->Close();
  co_return absl::OkStatus();
}

// Receives a datagram and gives its text, or the class of the error.
inline Task<std::string> ReceiveText(UdpSocket* socket) {
  DatagramBuffer buffer;
  const absl::StatusOr<Datagram> datagram = co_await socket->Receive(buffer);
  if (!datagram.ok()) co_return Kind(datagram.status());
  co_return std::string(datagram->data.text());
}

}  // namespace braid::conformance

#endif  // TESTS_CONFORMANCE_NETWORK_H_
