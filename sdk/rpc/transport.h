// The seam between calls and whatever carries them: bytes only.
//
// For: writing a transport (gRPC over HTTP/2, a simulated network, memory).
// Users of the RPC layer don't come here.
//
// A call is a method's path, metadata, a deadline, messages both ways, a
// half-close, a cancellation, and a status with trailers. The layer above holds
// a wire for each call and gets its events. The rules:
//   - Everything happens on one loop's thread. Events never come from within a
//     call into the wire, only from the loop.
//   - At most one Read and one Write are under way; each is answered by exactly
//     one OnRead, OnWritten, unless the end of the call comes instead: OnEnd on
//     a client; on a server, Finish called by the layer above.
//   - A read can't be withdrawn. A message that was written belongs to the
//     call.
//   - The wire's memory is its own: whoever holds it gives it up with Finish or
//     Abandon, and hears nothing after that.
//   - A loop is held (Loop::Hold) as long as a client's wire exists, so that a
//     transport may finish behind the back of those who have gone.

#ifndef BRAID_RPC_TRANSPORT_H_
#define BRAID_RPC_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/time.h"
#include "braid/rpc/metadata.h"
#include "braid/rpc/method.h"

namespace braid::rpc {

// The two directions of messages.
class Wire {
 public:
  virtual void Read() = 0;
  virtual void Write(std::string message) = 0;

 protected:
  ~Wire() = default;
};

class WireEvents {
 public:
  // The next message; nullopt: the other side has sent its last one.
  virtual void OnRead(std::optional<std::string> message) = 0;
  // The next Write may come. False: the call is broken, and will never carry
  // another message.
  virtual void OnWritten(bool ok) = 0;

 protected:
  ~WireEvents() = default;
};

// --- Servers ---

class ServerWire : public Wire {
 public:
  // These live until Finish.
  virtual std::string_view path() const = 0;
  virtual const Metadata& metadata() const = 0;
  // "ipv4:127.0.0.1:1234", "unix:...", for people.
  virtual std::string peer() const = 0;
  // Who the client has proved to be: names from its certificate. Empty without
  // mutual TLS.
  virtual std::vector<std::string> peer_identity() const = 0;
  // On the loop's clock; kNever for none.
  virtual Time deadline() const = 0;

  // At most once, before anything is sent: headers, which are valid. They go
  // with the first message or the status.
  virtual void SetHeaders(const Metadata& headers) = 0;
  // Sends the headers at once. Before the first message.
  virtual void SendHeaders() = 0;
  // Ends the call and gives up the wire. No write is under way. `message` is
  // sent before the status if that is OK, and not at all otherwise. The
  // trailers are valid.
  virtual void Finish(std::optional<std::string> message,
                      const absl::Status& status, const Metadata& trailers) = 0;
  // Breaks the call: what is under way is answered soon, if with failure.
  virtual void Abort() = 0;

 protected:
  ~ServerWire() = default;
};

class ServerWireEvents : public WireEvents {
 public:
  // The client cancelled, went away, or its deadline passed. Finish is still
  // owed.
  virtual void OnCancelled() = 0;

 protected:
  ~ServerWireEvents() = default;
};

// Takes the calls that arrive.
class CallAcceptor {
 public:
  // A call has arrived. Gives who gets its events. Where the method takes one
  // message, an OnRead that nobody asked for may follow at once.
  virtual ServerWireEvents* OnCall(ServerWire& wire) = 0;
  // Calls that were turned away by the limit.
  virtual void OnRejected(uint64_t calls) = 0;
  // The method of that path, nullptr if there is none. From any thread once the
  // transport listens.
  virtual const Method* FindMethod(std::string_view path) const = 0;

 protected:
  ~CallAcceptor() = default;
};

// What a server listens with. One use: Listen, Start, StopAccepting, Join.
class ServerTransport {
 public:
  virtual ~ServerTransport() = default;

  // Takes the addresses it was made for. Gives their ports, in order; 0 where
  // an address has none.
  virtual absl::StatusOr<std::vector<int>> Listen(CallAcceptor& acceptor) = 0;
  // Hands calls over from now on, those included that have come since Listen.
  virtual void Start() = 0;
  // Takes connections, from Start on, until it is cancelled. For a transport
  // that needs a task for it.
  virtual Task<void> Accept() { co_await SleepForever(); }
  // Turns new calls and connections away. Idempotent.
  virtual void StopAccepting() = 0;
  // After StopAccepting: completes once every call is finished and everything
  // released. Not to be cancelled.
  virtual Task<void> Join() = 0;
};

// --- Clients ---

// What a call begins with.
class CallStart {
 public:
  CallStart(const Method* method, Metadata metadata, Time deadline,
            bool wait_for_ready, std::optional<std::string> message)
      : method(method),
        metadata(std::move(metadata)),
        deadline(deadline),
        wait_for_ready(wait_for_ready),
        message(std::move(message)) {}

  const Method* method;
  Metadata metadata;
  Time deadline;
  bool wait_for_ready;
  // The only message of a method that takes one; a stream has none here.
  std::optional<std::string> message;
};

class ClientWire : public Wire {
 public:
  // No more messages. No write is under way.
  virtual void HalfClose() = 0;
  // Asks for an early end; OnEnd follows all the same.
  virtual void Cancel() = 0;
  // Gives up the wire; cancels the call if it has not ended.
  virtual void Abandon() = 0;

 protected:
  ~ClientWire() = default;
};

class ClientWireEvents : public WireEvents {
 public:
  // At most once, before the first OnRead.
  virtual void OnHeaders(Metadata headers) = 0;
  // The call is over; the last event. Every message that came before the status
  // was read, or the call failed.
  virtual void OnEnd(absl::Status status, Metadata trailers) = 0;

 protected:
  ~ClientWireEvents() = default;
};

// What a channel stands on. Calls may be in flight when it goes.
class ClientTransport {
 public:
  virtual ~ClientTransport() = default;

  // Begins a call. For methods with one reply, that is read unasked: OnRead, if
  // there is one, then OnEnd.
  virtual ClientWire* Start(CallStart start, ClientWireEvents& events) = 0;
  // Whether there is a connection now; true where there are none.
  virtual bool connected() const { return true; }
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_TRANSPORT_H_
