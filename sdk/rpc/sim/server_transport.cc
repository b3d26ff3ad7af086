// A server's side of calls in a simulation: see link.h. Implements
// detail/make_transport.h.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/world.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/core/timeout.h"
#include "braid/rpc/detail/make_transport.h"
#include "braid/rpc/detail/until.h"
#include "braid/rpc/server.h"
#include "braid/rpc/sim/link.h"
#include "braid/rpc/transport.h"

namespace braid::rpc::detail {
namespace {

using braid::detail::Check;
using braid::detail::Kernel;
using braid::detail::Loop;
using braid::detail::SimBackend;
using braid::detail::SimSocket;

// For answers that are on their way, and for clients to hang up, at the end.
constexpr Duration kLinger = std::chrono::seconds(1);

class SimServer;
class ServerLink;

// A call, from its arrival until its end has been sent.
class SimServerCall final : public ServerWire {
 public:
  SimServerCall(SimServer& server, ServerLink& link, uint32_t id,
                const sim::Begin& begin);
  SimServerCall(const SimServerCall&) = delete;
  SimServerCall& operator=(const SimServerCall&) = delete;

  std::string_view path() const override { return path_; }
  const Metadata& metadata() const override { return metadata_; }
  std::string peer() const override { return peer_; }
  std::vector<std::string> peer_identity() const override { return {}; }
  Time deadline() const override { return deadline_; }
  void Read() override {
    reading_ = true;
    if (HasNews()) soon_.Schedule();
  }
  void Write(std::string message) override;
  void SetHeaders(const Metadata& headers) override { headers_ = headers; }
  void SendHeaders() override;
  void Finish(std::optional<std::string> message, const absl::Status& status,
              const Metadata& trailers) override;
  void Abort() override;

  // From the connection.

  // Hands it to the layer above; may destroy it.
  void Begin();
  // False: the client broke the rules.
  bool OnFrame(FrameType type, std::string payload);
  // There may be room now. May destroy it.
  void Pump();
  // No more comes from the client, nor goes there. May destroy it.
  void Cancelled();
  void ConnectionLost();
  // Ends it before the handler does.
  void End(const absl::Status& status);

 private:
  struct Last {
    std::optional<std::string> message;
    sim::End end;
  };

  bool HasNews() const {
    return written_.has_value() || (cancelled_ && !cancel_told_) ||
           (!cancelled_ && reading_ && (!in_.empty() || half_closed_));
  }
  void Step();
  void Told();
  void DeleteIfDone();

  SimServer& server_;
  ServerLink* link_;  // nullptr once nothing more can be sent
  const uint32_t id_;
  const std::string path_;
  const Metadata metadata_;
  const std::string peer_;
  Time deadline_ = kNever;
  ServerWireEvents* events_ = nullptr;
  Soon soon_;
  // What has come.
  Inflow in_;
  bool reading_ = false;
  bool half_closed_ = false;
  bool cancelled_ = false;
  bool cancel_told_ = false;
  // What goes.
  Metadata headers_;
  bool headers_sent_ = false;
  std::optional<std::string> out_;
  int64_t credit_ = kWindow;
  std::optional<bool> written_;  // to be told
  bool finished_ = false;
  std::optional<Last> last_;
  bool busy_ = false;  // who tells an event looks whether it is done
};

class ServerLink final : public Link {
 public:
  ServerLink(SimServer& server, std::shared_ptr<Kernel> kernel,
             std::shared_ptr<SimSocket> socket, size_t max_message)
      : Link(std::move(kernel), std::move(socket), max_message),
        server_(server) {}
  ~ServerLink() { DropCalls(); }

  void Forget(uint32_t id) {
    calls_.erase(id);
    Schedule();
  }
  void GoAway() { Send(FrameType::kGoAway, 0); }

 private:
  void OnHello() override {}
  bool OnFrame(FrameType type, uint32_t call, std::string payload) override;
  void OnTooLarge(FrameType type, uint32_t call, size_t size) override;
  void OnWorked() override;
  void OnLost(std::string_view why) override;
  bool OnBegin(uint32_t id, const std::string& payload);
  void Refuse(uint32_t id, const absl::Status& status) {
    Send(FrameType::kEnd, id, ToEnd(status, Metadata()));
  }
  void DropCalls() {
    while (!calls_.empty()) {
      SimServerCall* call = calls_.begin()->second;
      calls_.erase(calls_.begin());
      call->ConnectionLost();
    }
  }

  SimServer& server_;
  uint32_t last_id_ = 0;
  std::map<uint32_t, SimServerCall*> calls_;
};

class SimServer final : public ServerTransport, private LoopBound {
 public:
  SimServer(const ServerOptions& options, SimBackend& backend)
      : kernel_(backend.machine().kernel()->shared_from_this()),
        listen_(options.listen),
        tls_(options.tls.has_value()),
        reuse_port_(options.reuse_port),
        max_request_bytes_(options.max_request_bytes),
        max_calls_(options.max_concurrent_calls),
        soon_([this] { TakeConnections(); }) {}
  ~SimServer() override {
    Check(active_ == 0, "a simulated RPC server goes while it has calls");
    StopListening();
  }

  absl::StatusOr<std::vector<int>> Listen(CallAcceptor& acceptor) override;
  void Start() override {
    started_ = true;
    soon_.Schedule();
  }
  void StopAccepting() override;
  Task<void> Join() override;

  CallAcceptor& acceptor() { return *acceptor_; }
  bool accepting() const { return accepting_; }
  bool Admit() {
    if (active_ >= max_calls_) return false;
    ++active_;
    return true;
  }
  void Leave() {
    --active_;
    joined_.Look();
  }
  void Remove(ServerLink& link) {
    std::erase_if(links_, [&](const auto& one) { return one.get() == &link; });
    joined_.Look();
  }

 private:
  struct Listener final : braid::detail::SocketUser {
    explicit Listener(SimServer& server) : server(server) {}
    void OnReady(IoDirection) override { server.soon_.Schedule(); }
    SimServer& server;
    std::shared_ptr<SimSocket> socket;
  };
  void TakeConnections();
  void StopListening();
  void LoopEnds() override {
    StopListening();
    links_.clear();
    soon_.Forget();
  }

  const std::shared_ptr<Kernel> kernel_;
  const std::vector<std::string> listen_;
  const bool tls_;
  const bool reuse_port_;
  const size_t max_request_bytes_;
  const size_t max_calls_;
  CallAcceptor* acceptor_ = nullptr;
  Soon soon_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<ServerLink>> links_;
  size_t active_ = 0;
  bool started_ = false;
  bool accepting_ = false;
  Until joined_{[this] { return active_ == 0 && links_.empty(); }};
};

// --- A call ---

std::string PeerOf(const SocketAddress& address) {
  const SocketAddress plain = address.Unmapped();
  return absl::StrCat(plain.is_v4() ? "ipv4:" : "ipv6:", plain.ToString());
}

SimServerCall::SimServerCall(SimServer& server, ServerLink& link, uint32_t id,
                             const sim::Begin& begin)
    : server_(server),
      link_(&link),
      id_(id),
      path_(begin.path()),
      metadata_(FromEntries(begin.metadata())),
      peer_(PeerOf(link.peer())),
      soon_([this] { Step(); }) {
  if (begin.timeout_ns() > 0) {
    deadline_ =
        braid::detail::Add(Loop::Current().Now(), Duration(begin.timeout_ns()));
  }
}

void SimServerCall::Begin() {
  const Method* method = server_.acceptor().FindMethod(path_);
  reading_ = method != nullptr && !ClientStreams(method->kind());
  busy_ = true;
  events_ = server_.acceptor().OnCall(*this);
  Told();
}

bool SimServerCall::OnFrame(FrameType type, std::string payload) {
  switch (type) {
    case FrameType::kMessage:
      // One that is past its credit would fill memory without end.
      if (half_closed_ || !in_.has_credit()) return false;
      in_.Push(std::move(payload));
      if (cancelled_ || finished_) in_.Clear();
      break;
    case FrameType::kHalfClose:
      half_closed_ = true;
      break;
    case FrameType::kCancel:
      Cancelled();
      return true;
    case FrameType::kCredit: {
      const int64_t bytes = CreditIn(payload);
      if (bytes < 0) return false;
      credit_ += bytes;
      Pump();
      return true;
    }
    default:
      return false;
  }
  if (HasNews()) soon_.Schedule();
  return true;
}

void SimServerCall::Write(std::string message) {
  out_ = std::move(message);
  if (cancelled_) {
    out_.reset();
    written_ = false;
    soon_.Schedule();
    return;
  }
  Pump();
}

void SimServerCall::SendHeaders() {
  if (std::exchange(headers_sent_, true) || link_ == nullptr) return;
  sim::Headers headers;
  ToEntries(headers_, *headers.mutable_metadata());
  link_->Send(FrameType::kHeaders, id_, headers);
}

void SimServerCall::Pump() {
  if (link_ == nullptr || !link_->roomy()) return DeleteIfDone();
  if (out_.has_value() && credit_ > 0) {
    SendHeaders();
    credit_ -= CostOf(*out_);
    link_->Send(FrameType::kMessage, id_, *out_);
    out_.reset();
    written_ = true;
    soon_.Schedule();
  }
  if (!last_.has_value()) return;
  if (last_->message.has_value()) {
    SendHeaders();
    link_->Send(FrameType::kMessage, id_, *last_->message);
  } else if (!headers_.empty()) {
    SendHeaders();
  }
  link_->Send(FrameType::kEnd, id_, last_->end);
  std::exchange(link_, nullptr)->Forget(id_);
  DeleteIfDone();
}

void SimServerCall::Finish(std::optional<std::string> message,
                           const absl::Status& status,
                           const Metadata& trailers) {
  finished_ = true;
  events_ = nullptr;
  in_.Clear();
  soon_.Forget();
  if (link_ != nullptr) {
    last_.emplace();
    if (status.ok()) last_->message = std::move(message);
    last_->end = ToEnd(status, trailers);
  }
  server_.Leave();
  Pump();
}

void SimServerCall::Abort() {
  if (out_.has_value()) {
    out_.reset();
    written_ = false;
  }
  soon_.Schedule();
}

void SimServerCall::Cancelled() {
  in_.Clear();
  last_.reset();
  if (out_.has_value()) {
    out_.reset();
    written_ = false;
  }
  if (link_ != nullptr) std::exchange(link_, nullptr)->Forget(id_);
  if (!std::exchange(cancelled_, true) && !finished_) soon_.Schedule();
  DeleteIfDone();
}

void SimServerCall::ConnectionLost() {
  link_ = nullptr;
  Cancelled();
}

void SimServerCall::End(const absl::Status& status) {
  if (link_ != nullptr)
    link_->Send(FrameType::kEnd, id_, ToEnd(status, Metadata()));
  Cancelled();
}

void SimServerCall::Step() {
  busy_ = true;
  if (cancelled_ && !std::exchange(cancel_told_, true)) events_->OnCancelled();
  if (!finished_ && written_.has_value()) {
    events_->OnWritten(*std::exchange(written_, std::nullopt));
  }
  if (!finished_ && !cancelled_ && reading_) {
    if (!in_.empty()) {
      reading_ = false;
      events_->OnRead(in_.Pop(half_closed_ ? nullptr : link_, id_));
    } else if (half_closed_) {
      reading_ = false;
      events_->OnRead(std::nullopt);
    }
  }
  Told();
}

void SimServerCall::Told() {
  busy_ = false;
  if (!finished_ && HasNews()) soon_.Schedule();
  DeleteIfDone();
}

void SimServerCall::DeleteIfDone() {
  if (finished_ && link_ == nullptr && !busy_) delete this;
}

// --- A connection ---

bool ServerLink::OnBegin(uint32_t id, const std::string& payload) {
  sim::Begin begin;
  if (id <= last_id_ || !begin.ParseFromString(payload) ||
      begin.timeout_ns() < 0) {
    return false;
  }
  last_id_ = id;
  if (!server_.accepting()) {
    Refuse(id, absl::UnavailableError("the server is shutting down"));
  } else if (!server_.Admit()) {
    Refuse(id, absl::ResourceExhaustedError(
                   "the server has as many calls as it takes; try again "
                   "later"));
    server_.acceptor().OnRejected(1);
  } else {
    auto* call = new SimServerCall(server_, *this, id, begin);
    calls_.emplace(id, call);
    call->Begin();
  }
  return true;
}

bool ServerLink::OnFrame(FrameType type, uint32_t id, std::string payload) {
  if (type == FrameType::kBegin) return OnBegin(id, payload);
  const auto call = calls_.find(id);
  // To one that has ended, the client has not heard of that yet.
  if (call == calls_.end()) return id <= last_id_ && type != FrameType::kEnd;
  return call->second->OnFrame(type, std::move(payload));
}

void ServerLink::OnTooLarge(FrameType type, uint32_t id, size_t size) {
  const absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat(type == FrameType::kMessage ? "a request" : "the metadata",
                   " of ", size, " bytes is larger than the server's limit"));
  if (type == FrameType::kBegin) {
    last_id_ = std::max(last_id_, id);
    Refuse(id, status);
  } else if (const auto call = calls_.find(id); call != calls_.end()) {
    call->second->End(status);
  }
}

void ServerLink::OnWorked() {
  // A call may go, and take others' places in the map with it, but not its own
  // key.
  for (auto call = calls_.begin(); call != calls_.end() && roomy();) {
    SimServerCall* pumped = call->second;
    ++call;
    pumped->Pump();
  }
}

void ServerLink::OnLost(std::string_view) {
  DropCalls();
  server_.Remove(*this);
}

// --- The server ---

absl::StatusOr<std::vector<int>> SimServer::Listen(CallAcceptor& acceptor) {
  acceptor_ = &acceptor;
  if (listen_.empty()) {
    return absl::InvalidArgumentError(
        "a server has no address to listen on; set ServerOptions::listen");
  }
  if (tls_) {
    return absl::UnimplementedError(
        "the simulation has no TLS; leave ServerOptions::tls empty there");
  }
  std::vector<int> ports;
  std::vector<std::unique_ptr<Listener>> listeners;
  for (const std::string& text : listen_) {
    const auto failed = [&](const absl::Status& status) {
      for (const auto& listener : listeners) kernel_->Close(*listener->socket);
      return absl::UnavailableError(absl::StrCat(
          "can't listen on ", text, ": ", std::string(status.message())));
    };
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
    if (!address.ok()) return failed(address.status());
    SocketRequest request;
    request.kind = IoKind::kTcpListener;
    request.bind = *address;
    request.reuse_port = reuse_port_;
    absl::StatusOr<std::shared_ptr<SimSocket>> socket = kernel_->Open(request);
    if (!socket.ok()) return failed(socket.status());
    auto listener = std::make_unique<Listener>(*this);
    listener->socket = *std::move(socket);
    listener->socket->user = listener.get();
    ports.push_back(listener->socket->bound.port());
    listeners.push_back(std::move(listener));
  }
  listeners_ = std::move(listeners);
  accepting_ = true;
  return ports;
}

void SimServer::TakeConnections() {
  if (!started_) return;
  for (const auto& listener : listeners_) {
    while (std::shared_ptr<SimSocket> socket =
               kernel_->Accept(*listener->socket)) {
      links_.push_back(std::make_unique<ServerLink>(
          *this, kernel_, std::move(socket), max_request_bytes_));
    }
  }
}

void SimServer::StopListening() {
  for (const auto& listener : listeners_) {
    listener->socket->user = nullptr;
    kernel_->Close(*listener->socket);
  }
  listeners_.clear();
  kernel_->Flush();
}

void SimServer::StopAccepting() {
  if (!std::exchange(accepting_, false)) return;
  TakeConnections();  // those that wait are told
  StopListening();
  for (const auto& link : links_) link->GoAway();
}

Task<void> SimServer::Join() {
  const bool in_time = co_await MoveOnAfter(kLinger, joined_.Wait());
  if (in_time) co_return;
  links_.clear();
  co_await joined_.Wait();
}

}  // namespace

std::shared_ptr<ServerTransport> MakeSimServerTransport(
    const ServerOptions& options, SimBackend& backend) {
  return std::make_shared<SimServer>(options, backend);
}

}  // namespace braid::rpc::detail
